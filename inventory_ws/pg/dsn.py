"""Connection strings of libpq."""

from psycopg2 import ProgrammingError
from psycopg2.extensions import make_dsn, parse_dsn

# The first two limits are shorter than STATEMENT_TIMEOUT: the server ends a statement, and releases its locks, before the
# service gives up.
SERVER_SETTINGS = {
    "statement_timeout": "3300",
    "lock_timeout": "2000",
    "idle_in_transaction_session_timeout": "5000",
    "client_connection_check_interval": "1000",
    "default_transaction_isolation": r"read\ committed",
    "inventory_ws.bell": "local",
    "jit": "off",  # compiling takes longer than it saves: every statement is short
}


def split_hosts(dsn: str) -> list[str]:
    """Split a DSN with several hosts into one for each host, and add the settings of the service. Raise ValueError."""
    try:
        words = parse_dsn(dsn)
    except ProgrammingError as exc:
        raise ValueError(f"--database-url (DATABASE_URL, dsn) no se entiende: {exc}") from exc
    settings = " ".join(f"-c {name}={value}" for name, value in SERVER_SETTINGS.items())
    words["options"] = f"{words.get('options', '')} {settings}".strip()
    defaults: dict[str, str | int] = {"keepalives_idle": 10, "keepalives_interval": 5, "keepalives_count": 3}
    if "," in words.get("host", ""):
        defaults["target_session_attrs"] = "read-write"  # the hosts are a primary and its standbys
    whole = {"application_name": "inventory_ws", "client_encoding": "UTF8", **defaults, **words}
    lists = {name: words[name].split(",") for name in ("host", "hostaddr", "port") if name in words}
    number = max(map(len, lists.values()), default=1)
    if any(len(values) not in (1, number) for values in lists.values()):
        raise ValueError("--database-url (DATABASE_URL, dsn): el número de servidores y el de puertos no coinciden")
    # One port is for all hosts.
    lists = {name: values * number if len(values) == 1 else values for name, values in lists.items()}
    return [make_dsn(**whole | {name: values[at] for name, values in lists.items()}) for at in range(number)]
