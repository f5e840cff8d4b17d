#!/bin/sh
# gunicorn 27.0.1: the socket by which gunicornc commands a running gunicorn has one path for a user, not for a service
# ($XDG_RUNTIME_DIR/gunicorn.ctl, else ~/.gunicorn/gunicorn.ctl), unless --control-socket names another. The second service of the
# user takes the path from the first, without a word in either log: gunicornc, with `shutdown` or `worker remove` too, then reaches
# the second. When the first ends, it removes the path, and the second, which runs, cannot be commanded any more.
# Seen, as what gunicornc tells of its listeners: "first alone: first", "second started: second", "first ended: nobody". Exit
# status 1 if that changes.
set -eu
folder=$(mktemp -d)
first=
second=
trap 'kill $first $second 2>/dev/null || true; wait; rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check gunicorn==27.0.1
"$folder/venv/bin/gunicorn" --version
unset XDG_RUNTIME_DIR
export HOME="$folder"
cd "$folder"
cat > application.py <<'PY'
def app(environ, start_response):
    start_response("200 OK", [])
    return [b""]
PY
commanded() { # which service gunicornc reaches
    case $(venv/bin/gunicornc -c "show listeners" 2>/dev/null) in
        *first.sock*) echo "$1: first" ;;
        *second.sock*) echo "$1: second" ;;
        *) echo "$1: nobody" ;;
    esac
}
listening() { until grep -q "Control socket listening" "$1" 2>/dev/null; do sleep 0.2; done; }
venv/bin/gunicorn application:app -b "unix:$folder/first.sock" 2> first.log & first=$!
listening first.log
seen=$(commanded "first alone")
venv/bin/gunicorn application:app -b "unix:$folder/second.sock" 2> second.log & second=$!
listening second.log
seen="$seen, $(commanded "second started")"
kill "$first"
wait "$first" || true
first=
seen="$seen, $(commanded "first ended")"
kill -0 "$second" # it runs
echo "$seen"
[ "$seen" = "first alone: first, second started: second, first ended: nobody" ]
