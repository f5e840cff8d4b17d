"""The proxies of the README, configured as it says, but without TLS and with compression on."""

import os
import re
import shutil
import signal
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import NamedTuple

from .markdown import blocks
from .nginx import README, configured
from .programs import environment, listens, program
from .service import free_port

PATH = f"{os.environ['PATH']}:/usr/sbin:{Path(__file__).parents[2] / '.venv/bin'}"
MODULES = "/usr/lib/apache2/modules"
APACHE_MODULES = ("mpm_event", "authz_core", "proxy", "proxy_http", "deflate", "filter")
CADDY = "{{\n admin 127.0.0.1:{admin}\n auto_https off\n persist_config off\n}}\nhttp://{site}"
APACHE = """
Listen 127.0.0.1:{port}
PidFile {home}/pid
ErrorLog {home}/error
User www-data
Group www-data
Mutex pthread default
{modules}
AddOutputFilterByType DEFLATE application/json
{site}
"""
LIGHTTPD = """
server.document-root = "{home}"
server.port = {port}
server.bind = "127.0.0.1"
server.modules = ("mod_proxy", "mod_deflate")
deflate.allowed-encodings = ("gzip")
deflate.mimetypes = ("application/json")
{site}
"""


class Proxy(NamedTuple):
    """`program` runs in the foreground with `arguments`, on a file that is made of `frame` and the README's `language`.
    `changes`: what is replaced in the README's text. `reload`: a signal, or the arguments of `tool`."""

    program: str
    language: str
    frame: str
    arguments: tuple[str, ...]
    reload: signal.Signals | tuple[tuple[str, ...], ...]
    changes: tuple[tuple[str, str], ...] = ()
    tool: str = ""


PROXIES = [
    Proxy(
        "nginx",
        "nginx",
        "daemon off; pid {home}/pid; events {{ }} http {{ access_log off; {temporary} gzip on; gzip_proxied any; "
        "gzip_types application/json; {site} }}",
        ("-e", "{home}/error", "-c", "{file}"),
        signal.SIGHUP,
    ),
    Proxy("apache2", "apache", APACHE, ("-DFOREGROUND", "-f", "{file}"), signal.SIGUSR1),
    Proxy(
        "haproxy",
        "haproxy",
        "{site}    compression algo gzip\n    compression type application/json\n",
        ("-W", "-db", "-f", "{file}"),
        signal.SIGUSR2,
        (("bind :443 ssl crt .*", "bind 127.0.0.1:{port}"),),
    ),
    Proxy("lighttpd", "lighttpd", LIGHTTPD, ("-D", "-f", "{file}"), signal.SIGUSR1),
    Proxy(
        "varnishd",
        "vcl",
        "{site}sub vcl_backend_response {{ set beresp.do_gzip = true; }}\n",
        ("-F", "-n", "{home}/work", "-a", "127.0.0.1:{port}", "-f", "{file}"),
        (("-n", "{home}/work", "vcl.load", "again", "{file}"), ("-n", "{home}/work", "vcl.use", "again")),
        (("3000", "{service}"),),
        "varnishadm",
    ),
    Proxy(
        "caddy",
        "caddy",
        CADDY,
        ("run", "--adapter", "caddyfile", "--config", "{file}"),
        (("reload", "--force", "--adapter", "caddyfile", "--address", "127.0.0.1:{admin}", "--config", "{file}"),),
        (("inventario.example {", "inventario.example:{port} {{\n    bind 127.0.0.1\n    encode gzip"),),
        "caddy",
    ),
]


def found(name: str) -> str | None:
    """The path of a program."""
    return shutil.which(name, path=PATH)


def configure(proxy: Proxy, home: Path, service: int) -> dict[str, str]:
    """Writes the configuration into a new folder, and returns the names that arguments may have."""
    home.mkdir(0o755)
    port, modules = free_port(), [f"LoadModule {name}_module {MODULES}/mod_{name}.so" for name in APACHE_MODULES]
    folders = "".join(
        f"{name}_temp_path {home}/{name};" for name in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    )
    names = {"home": home, "file": home / "configuration", "port": port, "admin": free_port(), "service": service}
    names = {name: str(value) for name, value in names.items()} | {"modules": "\n".join(modules), "temporary": folders}
    if proxy.language == "nginx":
        site = configured(port, [service])
    else:
        (site,) = (block.text for block in blocks(README, proxy.language))
        site = re.sub(r'127.0.0.1:3000|"port" => 3000', lambda found: found[0].replace("3000", str(service)), site)
        for before, after in proxy.changes:
            site, times = re.subn(before, after.format(**names), site)
            assert times, before
    Path(names["file"]).write_text(proxy.frame.format(site=site, **names))
    return names


@asynccontextmanager
async def running(proxy: Proxy, home: Path, service: int) -> AsyncIterator[tuple[str, Callable[[], Awaitable[None]]]]:
    """Puts the proxy before the service on this port; yields its URL, and a function that has it read its configuration again.
    `home`: a folder that is not there."""
    names, env = configure(proxy, home, service), environment(home) | {"PATH": PATH}
    path = found(proxy.program)
    assert path, f"there is no {proxy.program}"
    async with program(home, env, path, *(argument.format(**names) for argument in proxy.arguments)) as one:
        await one.until(lambda: listens(int(names["port"])))

        async def reload() -> None:
            if isinstance(proxy.reload, signal.Signals):
                one.process.send_signal(proxy.reload)
                return
            tool = found(proxy.tool)
            assert tool, f"there is no {proxy.tool}"
            for words in proxy.reload:
                async with program(home, env, tool, *(word.format(**names) for word in words)) as done:
                    assert await done.process.wait() == 0, done.log.read_text()

        yield f"http://127.0.0.1:{names['port']}", reload
