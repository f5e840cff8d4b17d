#!/bin/sh
# websocket-driver 0.8.0 (npm; seen with Node.js 20.20.2) is the protocol in faye-websocket, and Ruby's gem is its twin. It takes
# the close codes 1012 (service restart), 1013 (try again later) and 1014, which IANA has registered, for invalid ones: a client
# whose server closes with one of them is told 1002, a protocol error. A client therefore has to connect again after 1002 too,
# which looks like a fault of its own.
# Seen: "1001 as 1001, 1012 as 1002, 1013 as 1002, 4401 as 4401". Exit status 1 if that changes.
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
npm install --silent --prefix "$folder" websocket-driver@0.8.0
cat > "$folder/seen.js" <<'JS'
const { createHash } = require("crypto");
const websocket = require("websocket-driver");

async function told(code) {
  const driver = websocket.client("ws://example.com/");
  let request = "";
  driver.io.on("data", (chunk) => (request ||= String(chunk)));
  const closed = new Promise((resolve) => driver.on("close", (event) => resolve(event.code)));
  driver.start();
  const key = /Sec-WebSocket-Key: (.*)\r/.exec(request)[1] + "258EAFA5-E914-47DA-95CA-C5AB0DC85B11";
  const head = ["HTTP/1.1 101 Switching Protocols", "Upgrade: websocket", "Connection: Upgrade"];
  head.push(`Sec-WebSocket-Accept: ${createHash("sha1").update(key).digest("base64")}`, "", "");
  driver.io.write(Buffer.from(head.join("\r\n")));
  driver.io.write(Buffer.from([0x88, 2, code >> 8, code & 255])); // the server's close frame
  return closed;
}

process.exitCode = 1; // also if nothing is told
const codes = [1001, 1012, 1013, 4401];
Promise.all(codes.map(told)).then((seen) => {
  console.log(codes.map((code, number) => `${code} as ${seen[number]}`).join(", "));
  process.exit(seen.join() === "1001,1002,1002,4401" ? 0 : 1);
});
JS
node "$folder/seen.js"
