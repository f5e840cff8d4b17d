const [url, token] = process.argv.slice(2);
// As in a browser, the token goes in a subprotocol.
const ws = new WebSocket(url, ["inventario.v1", `bearer.${Buffer.from(token).toString("base64url")}`]);
ws.onmessage = ({ data }) => console.log(data);
ws.onclose = ({ code }) => console.log(JSON.stringify({ code }));
