"""The addresses of the service: where it listens, and the URLs for this machine and for others."""

import io
import socket
import sys
from collections.abc import Collection
from contextlib import suppress
from ipaddress import ip_address

QUEUE = 4096  # the listen backlog
UNREAD_TIMEOUT = 30.0  # seconds in which a client has to read its response; STALL_TIMEOUT is the same for sockets
# Nothing is sent to these documentation addresses: connect() on UDP only selects the default route.
FAR: dict[int, str] = {socket.AF_INET: "192.0.2.1", socket.AF_INET6: "2001:db8::1"}
WARNING = "Aviso: cualquiera en la red puede ver y cambiar el inventario; --token (INVENTORY_WS_TOKEN) pide una clave\n"


def listen(host: str, port: int) -> socket.socket:
    """Return the listening socket. Raise ValueError with a remedy in one line."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        sock = socket.create_server((host, port), family=family, backlog=QUEUE)
    except (OSError, OverflowError) as exc:
        free = "PORT=3001" if port != 3001 else "PORT=3002"
        remedy = f"elija otro puerto ({free} make run, o --port) u otra dirección (HOST, o --host)"
        raise ValueError(f"no se puede escuchar en {host}, puerto {port} ({exc}); {remedy}") from exc
    # Linux only; aiohttp has no time limit for a client that does not read its response.
    if hasattr(socket, "TCP_USER_TIMEOUT"):
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, int(UNREAD_TIMEOUT * 1000))
    return sock


def names(sock: socket.socket) -> set[str]:
    """Return the names by which other machines reach this one: its host names, and any literal address. DNS
    rebinding needs a name, so that addresses are safe. Return nothing if the socket listens on loopback only."""
    if ip_address(sock.getsockname()[0]).is_loopback:
        return set()
    name = socket.gethostname()
    short = name.partition(".")[0]
    return {name, short, f"{short}.local", "0.0.0.0/0", "::/0"}


def welcome(host: str, sock: socket.socket, token: str | None, secure: Collection[str] | None = None) -> str:
    """Return the lines printed at the start: the URLs, and a warning if the whole network may write. `secure`: with TLS,
    what `--hosts` allows: its names are those of the certificate."""
    address, port = ip_address(sock.getsockname()[0]), sock.getsockname()[1]
    found = [] if address.is_loopback else [str(address)]
    if address.is_unspecified:
        host, found = "127.0.0.1" if address.version == 4 else "::1", default_address(sock.family)
    if found and secure:
        found = sorted(name for name in secure if "/" not in name) or found
    scheme = "http" if secure is None else "https"
    here, *others = [f"{scheme}://{f'[{name}]' if ':' in name else name}:{port}/" for name in (host, *found)]
    lines = [f"Página: {here}\n", *(f"En la red: {url}\n" for url in others)]
    if others and sys.stdout and sys.stdout.isatty():
        lines.append(_qr(others[0]))
    return "".join(lines) + ("" if token or address.is_loopback else WARNING)


def default_address(family: int) -> list[str]:
    """Return the address by which this machine uses its default route, or nothing if it has none."""
    with suppress(OSError), socket.socket(family, socket.SOCK_DGRAM) as probe:
        probe.connect((FAR[family], 9))  # sends nothing
        address = ip_address(probe.getsockname()[0].partition("%")[0])
        return [] if address.is_loopback or address.is_link_local else [str(address)]
    return []


def _qr(url: str) -> str:
    """Return the URL as a QR code, or an empty text if the terminal's encoding lacks the characters."""
    out = io.StringIO()
    try:
        import segno

        segno.make_qr(url).terminal(out, compact=True)
        out.getvalue().encode(sys.stdout.encoding)
    except (ImportError, UnicodeEncodeError):
        return ""
    return "".join(f"\x1b[97;40m{line}\x1b[0m\n" for line in out.getvalue().splitlines())
