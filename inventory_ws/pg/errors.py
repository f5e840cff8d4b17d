"""The two errors of PostgreSQL that the service tells apart: it is unavailable, or it rejected a value."""

from collections.abc import Iterator
from contextlib import contextmanager

import psycopg2
from psycopg2.errors import DatatypeMismatch, FeatureNotSupported, UniqueViolation

UNAVAILABLE = (psycopg2.OperationalError, psycopg2.InternalError, psycopg2.InterfaceError, TimeoutError)
# SQLSTATEs, and classes of them: of a value that is too long or too large, that the encoding lacks, that a constraint or an
# index does not take; and of an error in a trigger of the owner. FULL: the C functions in which 54000 is the server's own limit.
REJECTED = ("22001", "22003", "22021", "22P05", "23", "54000", "24", "27", "2D", "2F", "34", "38", "39", "P0")
FULL = ("GetNewTransactionId", "GetNewMultiXactId", "PreCommit_Notify")
RAISE = "exec_stmt_raise"  # the C function that errors of a RAISE in PL/pgSQL name as their source
POLICY = "ExecWithCheckOptions"  # the one of row security, for a row that its policies do not allow
RULE = "RewriteQuery"  # the one that applies the rules of a table, and refuses what they do not allow
TAKEN = "eventos_pkey"  # fails where the sequence of the events was set back, which the feed puts right


class Unavailable(Exception):
    """PostgreSQL did not answer in time. A statement that changes data may have been executed or not."""


class Rejected(Exception):
    """PostgreSQL rejected a value.

    `code`: the SQLSTATE. `place`: the names of the column or constraint, and of the columns of a unique key. `raised`: the text
    comes from the RAISE of a trigger.
    """

    def __init__(self, exc: psycopg2.Error) -> None:
        found = exc.diag
        super().__init__(found.message_primary)
        self.code = exc.pgcode or ""
        self.raised = found.source_function == RAISE
        key = (found.message_detail or "").partition(")=(")[0] if self.code in ("23505", "23P01") else ""
        self.place = f"{found.column_name or found.constraint_name or ''} {key}"


def connection_ends(exc: psycopg2.Error) -> bool:
    """Return whether the connection is lost, leads to a server that takes no changes, or has outdated plans."""
    return is_outdated(exc) or (exc.pgcode or "08000").startswith(("08", "57P0", "25006"))


def is_outdated(exc: BaseException) -> bool:
    """Return whether a table was altered, and the session has kept its former types: in prepared statements or plans of triggers."""
    # RevalidateCachedQuery and EvaluateParams: the C functions that find a statement's columns changed, and that take its
    # parameters, whose type may be wrong.
    if isinstance(exc, FeatureNotSupported):
        return exc.diag.source_function == "RevalidateCachedQuery"
    return isinstance(exc, DatatypeMismatch) and exc.diag.source_function != "EvaluateParams"


@contextmanager
def translated() -> Iterator[None]:
    """Raise Unavailable or Rejected for errors of psycopg2. An error in the SQL itself passes unchanged."""
    try:
        yield
    except (psycopg2.Error, TimeoutError) as exc:
        taken = isinstance(exc, UniqueViolation) and exc.diag.constraint_name == TAKEN
        if isinstance(exc, psycopg2.Error) and (
            exc.diag.source_function in (RAISE, POLICY, RULE)
            or ((exc.pgcode or "").startswith(REJECTED) and exc.diag.source_function not in FULL and not taken)
        ):
            raise Rejected(exc) from exc
        if isinstance(exc, UNAVAILABLE) or taken or is_outdated(exc):
            raise Unavailable(" ".join(str(exc).split()) or type(exc).__name__) from exc
        raise
