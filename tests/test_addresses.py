"""What is printed of a machine with these interfaces; how a process prints it stands in test_main.py."""

import re
import socket
import sys
from types import SimpleNamespace

import psutil
import pytest

from inventory_ws.cli import addresses

V4, V6 = socket.AF_INET, socket.AF_INET6
INTERFACES = {
    "lo": [(V4, "127.0.0.1"), (V4, "10.255.255.254"), (V6, "::1")],
    "eth0": [(V4, "10.0.0.4"), (V6, "2001:db8::4"), (V6, "fe80::4%eth0"), (psutil.AF_LINK, "02:fc:00:00:00:01")],
    "eth0:1": [(V4, "10.0.0.5")],
    "wlan0": [(V4, "192.168.1.10"), (V6, "fd00::10")],
    "usb0": [(V4, "169.254.7.7")],
    "eth1": [(V4, "10.9.9.9")],  # down
    "gone": [(V4, "10.8.8.8")],  # between the two questions
    "docker0": [(V4, "172.17.0.1")],
    "br-0123456789ab": [(V4, "172.18.0.1")],
    "virbr0": [(V4, "192.168.122.1")],
}


@pytest.fixture(autouse=True)
def machine(monkeypatch: pytest.MonkeyPatch) -> None:
    """Gives the machine these interfaces, and no default route."""
    up = SimpleNamespace(isup=True, flags="up,broadcast,running")
    down = SimpleNamespace(isup=False, flags="up,broadcast")
    loopback = SimpleNamespace(isup=True, flags="up,loopback,running")
    stats = {
        name: {"eth1": down, "lo": loopback}.get(name, up) for name in INTERFACES if name not in ("eth0:1", "gone")
    }
    found = {
        name: [SimpleNamespace(family=family, address=address) for family, address in entries]
        for name, entries in INTERFACES.items()
    }
    monkeypatch.setattr(psutil, "net_if_stats", lambda: stats)
    monkeypatch.setattr(psutil, "net_if_addrs", lambda: found)
    monkeypatch.setattr(addresses, "FAR", {V4: "127.0.0.1", V6: "::1"})


def printed(host: str, token: str | None = None) -> list[str]:
    try:
        sock = addresses.listen(host, 0)
    except ValueError:
        pytest.skip(f"this machine has no {host}")
    with sock:
        return addresses.welcome(host, sock, token).replace(f":{sock.getsockname()[1]}/", ":3000/").splitlines()


def test_loopback_prints_only_the_local_url() -> None:
    assert printed("127.0.0.1") == ["Página: http://127.0.0.1:3000/"]
    assert printed("localhost") == ["Página: http://localhost:3000/"]
    assert printed("::1") == ["Página: http://[::1]:3000/"]


@pytest.mark.parametrize("host", ["0.0.0.0", "", "0"])
def test_reachable_addresses_are_printed_and_no_others(host: str) -> None:
    assert printed(host, "clave") == [
        "Página: http://127.0.0.1:3000/",
        "En la red: http://10.0.0.4:3000/",
        "En la red: http://10.0.0.5:3000/",
        "En la red: http://192.168.1.10:3000/",
    ]


def test_printed_addresses_have_the_family_of_the_listening_socket() -> None:
    assert printed("::", "clave") == [
        "Página: http://[::1]:3000/",
        "En la red: http://[2001:db8::4]:3000/",
        "En la red: http://[fd00::10]:3000/",
    ]


def test_open_network_without_token_prints_a_warning() -> None:
    assert printed("0.0.0.0")[-1] == addresses.WARNING.strip()
    assert "--token" in addresses.WARNING


def test_machine_without_network_prints_no_address(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(psutil, "net_if_addrs", dict)
    assert printed("0.0.0.0", "clave") == ["Página: http://127.0.0.1:3000/"]


def test_address_of_the_default_route_comes_first(monkeypatch: pytest.MonkeyPatch) -> None:
    class Probe(socket.socket):
        def getsockname(self) -> tuple[str, int]:
            return "192.168.1.10", 1

    sock = addresses.listen("0.0.0.0", 0)
    with sock, monkeypatch.context() as patch:
        patch.setattr(socket, "socket", Probe)
        told = addresses.welcome("0.0.0.0", sock, "clave")
        assert re.findall("red: http://([0-9.]+)", told) == ["192.168.1.10", "10.0.0.4", "10.0.0.5"]
        patch.setitem(sys.modules, "psutil", None)
        told = addresses.welcome("0.0.0.0", sock, "clave")
        assert re.findall("red: http://([0-9.]+)", told) == ["192.168.1.10"], "without psutil"


def test_allowed_names_are_those_of_this_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(socket, "gethostname", lambda: "Aula-PC.escuela.example")
    with addresses.listen("127.0.0.1", 0) as sock:
        assert addresses.names(sock) == set()
    with addresses.listen("0.0.0.0", 0) as sock:
        assert addresses.names(sock) == {"Aula-PC.escuela.example", "Aula-PC", "Aula-PC.local", "0.0.0.0/0", "::/0"}


def test_port_in_use_suggests_a_command_with_another_port(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise OSError("in use")

    monkeypatch.setattr(socket, "create_server", refuse)
    for port, other in ((3000, 3001), (3001, 3002)):
        with pytest.raises(ValueError, match=f"puerto {port} .*PORT={other} make run.*--port"):
            addresses.listen("127.0.0.1", port)
