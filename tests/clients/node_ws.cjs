const WebSocket = require("ws");

const [url, token] = process.argv.slice(2);
const ws = new WebSocket(url, { headers: { Authorization: `Bearer ${token}` } });
ws.on("message", (data) => console.log(String(data)));
ws.on("close", (code) => console.log(JSON.stringify({ code })));
