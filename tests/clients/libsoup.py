"""libsoup, which is written in C, by GObject introspection."""

import json
import sys

import gi

gi.require_version("Soup", "3.0")
from gi.repository import GLib, Soup

url, token = sys.argv[1:]
loop, session, request = GLib.MainLoop(), Soup.Session(), Soup.Message.new("GET", url)
session.add_feature_by_type(Soup.WebsocketExtensionManager)
request.get_request_headers().append("Authorization", f"Bearer {token}")


def opened(session: Soup.Session, result: object) -> None:
    session.ws = session.websocket_connect_finish(result)
    session.ws.connect("message", lambda _, kind, data: print(data.get_data().decode(), flush=True))
    session.ws.connect("error", lambda _, error: print(json.dumps({"error": error.message})))
    session.ws.connect("closed", lambda ws: (print(json.dumps({"code": ws.get_close_code()})), loop.quit()))


session.websocket_connect_async(request, None, None, GLib.PRIORITY_DEFAULT, None, opened)
loop.run()
