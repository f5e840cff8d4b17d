local websocket = require "http.websocket"

io.stdout:setvbuf "line"
local ws = websocket.new_from_uri(arg[1])
ws.request.headers:append("authorization", "Bearer " .. arg[2])
assert(ws:connect())
for message in ws:each() do
    print(message)
end
print(('{"code":%s}'):format(tostring(ws.got_close_code)))
