"""What is printed of a machine with these interfaces; how a process prints it stands in test_main.py."""

import socket

import pytest

from inventory_ws.cli import addresses

V4, V6 = socket.AF_INET, socket.AF_INET6


@pytest.fixture(autouse=True)
def machine(monkeypatch: pytest.MonkeyPatch) -> None:
    """Gives the machine a default route with these addresses."""
    found = {V4: ["192.168.1.10"], V6: ["fd00::10"]}
    monkeypatch.setattr(addresses, "default_address", lambda family: found[family])


def printed(host: str, token: str | None = None, secure: set[str] | None = None) -> list[str]:
    try:
        sock = addresses.listen(host, 0)
    except ValueError:
        pytest.skip(f"this machine has no {host}")
    with sock:
        return addresses.welcome(host, sock, token, secure).replace(f":{sock.getsockname()[1]}/", ":3000/").splitlines()


def test_loopback_prints_only_the_local_url() -> None:
    assert printed("127.0.0.1") == ["Página: http://127.0.0.1:3000/"]
    assert printed("localhost") == ["Página: http://localhost:3000/"]
    assert printed("::1") == ["Página: http://[::1]:3000/"]


@pytest.mark.parametrize("host", ["0.0.0.0", "", "0"])
def test_address_of_the_default_route_is_printed(host: str) -> None:
    assert printed(host, "clave") == ["Página: http://127.0.0.1:3000/", "En la red: http://192.168.1.10:3000/"]


def test_addresses_of_a_service_with_tls_are_those_of_its_certificate() -> None:
    here = "Página: https://127.0.0.1:3000/"
    assert printed("127.0.0.1", "clave", {"aula.example"}) == [here]
    assert printed("0.0.0.0", "clave", set()) == [here, "En la red: https://192.168.1.10:3000/"]
    assert printed("0.0.0.0", "clave", {"10.0.0.0/8", "aula.example"}) == [
        here,
        "En la red: https://aula.example:3000/",
    ]


def test_printed_address_has_the_family_of_the_listening_socket() -> None:
    assert printed("::", "clave") == ["Página: http://[::1]:3000/", "En la red: http://[fd00::10]:3000/"]


def test_open_network_without_token_prints_a_warning() -> None:
    assert printed("0.0.0.0")[-1] == addresses.WARNING.strip()
    assert "--token" in addresses.WARNING


def test_machine_without_network_prints_no_address(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.undo()
    monkeypatch.setattr(addresses, "FAR", {V4: "127.0.0.1"})
    assert printed("0.0.0.0", "clave") == ["Página: http://127.0.0.1:3000/"]
    monkeypatch.setattr(addresses, "FAR", {V4: "not an address"})
    assert printed("0.0.0.0", "clave") == ["Página: http://127.0.0.1:3000/"]


def test_address_of_the_default_route_is_that_of_the_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    class Probe(socket.socket):
        def getsockname(self) -> tuple[str, int]:
            return "192.168.7.7", 1

    monkeypatch.undo()
    monkeypatch.setattr(addresses, "FAR", {V4: "127.0.0.1"})
    monkeypatch.setattr(socket, "socket", Probe)
    assert addresses.default_address(V4) == ["192.168.7.7"]


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
