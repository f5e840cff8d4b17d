"""The addresses at which PostgreSQL may be, from a connection string of libpq."""

import asyncio
import os
import re
import socket
from configparser import ConfigParser, Error
from contextlib import suppress

import psycopg2
from psycopg2.extensions import make_dsn, parse_dsn

VARIABLES = {"host": "PGHOST", "hostaddr": "PGHOSTADDR", "port": "PGPORT"}
URL = "una URL es postgresql://usuario:clave@servidor/base, con %40 por @, %2F por / y %25 por % en la clave"
ATTEMPT_TIMEOUT = 0.9  # seconds for an address, if there is another one


class Hosts:
    """The hosts of a connection string. Names are looked up anew for each connection, and never by libpq: it would block."""

    def __init__(self, dsn: str) -> None:
        self._hosts = split_hosts(dsn)
        self._lookups: dict[int, asyncio.Task[list[str]]] = {}
        self._failures: dict[str, float] = {}  # when each address failed last

    async def addresses(self) -> list[str]:
        """Return a connection string for each address, those that failed last at the end. Raise OperationalError."""
        lookups = [self._look_up(number) for number in range(len(self._hosts))]
        done, waiting = await asyncio.wait(lookups, timeout=ATTEMPT_TIMEOUT)
        if not done:
            done, _ = await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
        found = [dsn for task in lookups if task in done and not task.cancelled() for dsn in task.result()]
        if not found:
            names = ", ".join(words.get("host", "") for words in self._hosts)
            raise psycopg2.OperationalError(f"no address is known of {names}")
        return sorted(found, key=lambda dsn: self._failures.get(dsn, 0.0))

    def failed(self, dsn: str) -> None:
        """Take note that there is no connection to this address now."""
        self._failures[dsn] = asyncio.get_running_loop().time()

    def close(self) -> None:
        """Wait for no answer of a resolver any more."""
        for lookup in self._lookups.values():
            lookup.cancel()

    def _look_up(self, number: int) -> asyncio.Task[list[str]]:
        # One look-up of a name at a time: each takes a thread, as long as a resolver is silent.
        if number not in self._lookups or self._lookups[number].done():
            self._lookups[number] = asyncio.create_task(_resolve(self._hosts[number]))
        return self._lookups[number]


async def _resolve(words: dict[str, str]) -> list[str]:
    host = words.get("host", "")
    if words.get("hostaddr") or not host or host[0] in "/@":  # the folder of a Unix socket, or its abstract name
        return [make_dsn(**words)]
    addresses = []
    with suppress(OSError, UnicodeError):
        addresses = await asyncio.get_running_loop().getaddrinfo(host, None, type=socket.SOCK_STREAM)
    return [make_dsn(**words | {"hostaddr": str(address[0])}) for *_, address in addresses]


def split_hosts(dsn: str) -> list[dict[str, str]]:
    """Return the words of a connection string for each of its hosts. Raise ValueError."""
    if not isinstance(dsn, str):  # a variable that is not set
        raise TypeError(f"dsn is a text, and not {type(dsn).__name__}")
    try:
        words = parse_dsn(dsn)
        if "@" in words.get("host", "")[1:]:
            raise psycopg2.ProgrammingError(words["host"])
    except psycopg2.ProgrammingError as exc:
        # libpq quotes what it does not understand, and so a password.
        reason = URL if re.search("[@%]", str(exc)) else str(exc)
        raise ValueError(f"--database-url (DATABASE_URL, dsn) no se entiende: {reason}") from None
    defaults = {"keepalives_idle": "10", "keepalives_interval": "5", "keepalives_count": "3"}
    whole = {"application_name": "inventory_ws", "client_encoding": "UTF8", **defaults, **words}
    environment = {name: os.environ[variable] for name, variable in VARIABLES.items() if variable in os.environ}
    named = {**environment, **_from_service(words.get("service") or os.environ.get("PGSERVICE", "")), **words}
    lists = {name: named[name].split(",") for name in ("host", "hostaddr", "port") if named.get(name)}
    number = max(map(len, lists.values()), default=1)
    if any(len(values) not in (1, number) for values in lists.values()):
        raise ValueError("--database-url (DATABASE_URL, dsn): el número de servidores y el de puertos no coinciden")
    # One port is for all hosts.
    lists = {name: values * number if len(values) == 1 else values for name, values in lists.items()}
    return [whole | {name: values[at] for name, values in lists.items()} for at in range(number)]


def _from_service(name: str) -> dict[str, str]:
    user = os.environ.get("PGSERVICEFILE", "~/.pg_service.conf")
    system = os.path.join(os.environ.get("PGSYSCONFDIR", "/etc/postgresql-common"), "pg_service.conf")
    for file in (user, system) if name else ():
        services = ConfigParser(delimiters="=", comment_prefixes="#", interpolation=None, strict=False)
        with suppress(Error):  # libpq explains it
            services.read(os.path.expanduser(file))
        if services.has_section(name):
            return dict(services[name])
    return {}
