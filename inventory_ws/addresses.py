"""Where the service listens, and what to type to get there: on this machine and on others."""

import io
import socket
import sys
from contextlib import suppress
from ipaddress import ip_address

from .stream import STALL_TIMEOUT

QUEUE = 4096  # connections that may wait to be accepted
INSIDE = ("br-", "cni", "docker", "podman", "veth", "virbr")  # bridges to containers: no way in from other machines
FAR: dict[int, str] = {socket.AF_INET: "192.0.2.1", socket.AF_INET6: "2001:db8::1"}  # nobody's: by the default route
WARNING = "Aviso: cualquiera en la red puede ver y cambiar el inventario; --token (INVENTORY_WS_TOKEN) pide una clave\n"


def listen(host: str, port: int) -> socket.socket:
    """The socket of the service. ValueError says in one line what to put right."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        sock = socket.create_server((host, port), family=family, backlog=QUEUE)
    except (OSError, OverflowError) as exc:
        free = "PORT=3001" if port != 3001 else "PORT=3002"
        remedy = f"elija otro puerto ({free} make run, o --port) u otra dirección (HOST, o --host)"
        raise ValueError(f"no se puede escuchar en {host}, puerto {port} ({exc}); {remedy}") from exc
    if hasattr(socket, "TCP_USER_TIMEOUT"):  # Linux; aiohttp would hold an answer that nobody reads for ever
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, int(STALL_TIMEOUT * 1000))
    return sock


def names(sock: socket.socket) -> set[str]:
    """What other machines may call this one, if they get here: its names, and any address, as rebinding needs a name."""
    if ip_address(sock.getsockname()[0]).is_loopback:
        return set()
    name = socket.gethostname()
    short = name.partition(".")[0]
    return {name, short, f"{short}.local", "0.0.0.0/0", "::/0"}


def welcome(host: str, sock: socket.socket, token: str | None) -> str:
    """The lines that say what to type, and to whom the inventory is open."""
    address, port = ip_address(sock.getsockname()[0]), sock.getsockname()[1]
    found = [] if address.is_loopback else [str(address)]
    if address.is_unspecified:
        host, found = "127.0.0.1" if address.version == 4 else "::1", _addresses(sock.family)
    here, *others = [f"http://{f'[{name}]' if ':' in name else name}:{port}/" for name in (host, *found)]
    lines = [f"Página: {here}\n", *(f"En la red: {url}\n" for url in others)]
    if others and sys.stdout and sys.stdout.isatty():
        lines.append(_qr(others[0]))
    return "".join(lines) + ("" if token or address.is_loopback else WARNING)


def _addresses(family: int) -> list[str]:
    """The addresses of this machine in its networks, that of the default route first: without psutil, that one alone."""
    found = []
    with suppress(OSError), socket.socket(family, socket.SOCK_DGRAM) as probe:
        probe.connect((FAR[family], 9))  # sends nothing
        found.append(probe.getsockname()[0])
    with suppress(ImportError, OSError):
        import psutil

        up = {name for name, stat in psutil.net_if_stats().items() if stat.isup and "loopback" not in stat.flags}
        for name, entries in psutil.net_if_addrs().items():
            if name.partition(":")[0] in up and not name.startswith(INSIDE):  # eth0:1 is another address of eth0
                found += [entry.address for entry in entries if entry.family == family]
    fit = [address for address in found if not (ip_address(address).is_link_local or ip_address(address).is_loopback)]
    return list(dict.fromkeys(fit))


def _qr(url: str) -> str:
    """The URL for a phone's camera, light on dark in every terminal; nothing where the terminal has no such characters."""
    out = io.StringIO()
    try:
        import segno

        segno.make_qr(url).terminal(out, compact=True)
        out.getvalue().encode(sys.stdout.encoding)
    except (ImportError, UnicodeEncodeError):
        return ""
    return "".join(f"\x1b[97;40m{line}\x1b[0m\n" for line in out.getvalue().splitlines())
