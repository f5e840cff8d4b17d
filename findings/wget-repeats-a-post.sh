#!/bin/sh
# GNU Wget 1.21.3 (Debian 12): --tries, which is 20 unless it is given, holds for POST and PATCH too. If a server ends the
# connection before its answer, or answers later than --timeout, wget waits, a second longer each time, and sends the body
# again: a sale that was executed is executed up to twenty times. With -q it says nothing, and its exit status is 0 at last. curl,
# even with --retry, does not repeat a request whose connection has ended. What helps: --tries=1, or a service that knows an
# Idempotency-Key, which comes with each try.
# Seen, where the first two answers are lost and each POST takes one of 10: "wget: exit 0, stock 7", "wget --timeout=1: exit 0,
# stock 7", "wget --tries=1: exit 4, stock 9", "curl --retry 3: exit 52, stock 9". Exit status 1 if that changes.
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cat > "$folder/seen.py" <<'PY'
import subprocess
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

BODY = '{"delta":-1}'


def outcome(late: bool, *command: str) -> str:
    """What a program makes of a POST whose first two answers are lost, or come late."""
    stock, ended = 10, threading.Event()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            nonlocal stock
            assert self.rfile.read(int(self.headers["Content-Length"])).decode() == BODY
            stock -= 1
            if stock > 7:
                if late:
                    ended.wait(30)
                return
            self.send_response(200)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *arguments: object) -> None: ...

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever).start()
        done = subprocess.run([*command, f"http://127.0.0.1:{server.server_port}/"], stderr=subprocess.PIPE)
        ended.set()
        server.shutdown()
    assert not done.stderr, done.stderr
    return f"exit {done.returncode}, stock {stock}"


print(subprocess.run(["wget", "--version"], capture_output=True, text=True).stdout.splitlines()[0])
wget = ["wget", "-q", "-O-", f"--post-data={BODY}"]
seen = [
    f"wget: {outcome(False, *wget)}",
    f"wget --timeout=1: {outcome(True, *wget, '--timeout=1')}",
    f"wget --tries=1: {outcome(False, *wget, '--tries=1')}",
    f"curl --retry 3: {outcome(False, 'curl', '-s', '--retry', '3', '-d', BODY)}",
]
print(*seen, sep="\n")
wanted = ["wget: exit 0, stock 7", "wget --timeout=1: exit 0, stock 7"]
raise SystemExit(seen != [*wanted, "wget --tries=1: exit 4, stock 9", "curl --retry 3: exit 52, stock 9"])
PY
python3 "$folder/seen.py"
