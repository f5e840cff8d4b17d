require 'base64'
require 'eventmachine'
require 'faye/websocket'
require 'json'

$stdout.sync = true
url, token = ARGV
EM.run do
  # As in a browser, the token goes in a subprotocol.
  offered = ['inventario.v1', "bearer.#{Base64.urlsafe_encode64(token, padding: false)}"]
  ws = Faye::WebSocket::Client.new(url, offered)
  ws.on(:message) { |message| puts message.data }
  ws.on(:close) do |close|
    puts({ code: close.code }.to_json)
    EM.stop
  end
end
