"""nginx, configured as the README says but without TLS."""

import os
import re
import shutil
import socket
import subprocess
import time
from collections.abc import Collection, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from .markdown import blocks
from .service import free_port

README = (Path(__file__).parents[2] / "README.md").read_text()
NGINX = shutil.which("nginx", path=f"{os.environ['PATH']}:/usr/sbin")


def configured(port: int, instances: Collection[int]) -> str:
    """The README's site on the port, and its upstream of so many instances; of one, the site alone."""
    upstream, site = (block.text for block in blocks(README, "nginx"))
    passed = f"http://127.0.0.1:{next(iter(instances))}" if len(instances) == 1 else "http://inventario"
    for found, instead in (
        ("listen 443 ssl;", f"listen 127.0.0.1:{port};"),
        ("http://127.0.0.1:3000", passed),
        (r"ssl_certificate.*;", ""),
    ):
        site, times = re.subn(found, instead, site)
        assert times, found
    for example, instance in zip((3001, 3002, 3003), instances, strict=False):
        assert f"127.0.0.1:{example}" in upstream
        upstream = upstream.replace(f"127.0.0.1:{example}", f"127.0.0.1:{instance}")
    return site if len(instances) == 1 else upstream + site


@contextmanager
def nginx(home: Path, instances: Collection[int]) -> Iterator[int]:
    """Puts nginx before the instances that listen on these ports; yields its own. `home`: a folder that is not there."""
    home.mkdir()
    port = free_port()
    temporary = "".join(
        f"{name}_temp_path {home}/{name};\n" for name in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    )
    (home / "nginx.conf").write_text(
        f"daemon off; pid {home}/pid; error_log {home}/error.log; events {{ worker_connections 4096; }}\n"
        f"http {{ access_log off; {temporary} {configured(port, instances)} }}"
    )
    assert NGINX
    process = subprocess.Popen([NGINX, "-p", home, "-e", home / "error.log", "-c", home / "nginx.conf"])
    try:
        for _ in range(100):
            with suppress(OSError), socket.create_connection(("127.0.0.1", port)):
                break
            time.sleep(0.05)
        else:
            raise AssertionError((home / "error.log").read_text())
        yield port
    finally:
        process.terminate()
        process.wait(20)
