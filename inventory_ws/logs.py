"""What the command line logs, and what it leaves out."""

import logging
import sys
import time
from contextlib import suppress

from aiohttp import web
from aiohttp.abc import AbstractAccessLogger
from aiohttp.http_exceptions import HttpProcessingError

QUERY_CANCELED = "57014"  # PostgreSQL: statement_timeout


class AccessLog(AbstractAccessLogger):
    """One line a request on stderr, without its query: what people look for is their own business.

    It writes them itself: a record of `logging` takes as long as a third of a request.
    """

    def log(self, request: web.BaseRequest, response: web.StreamResponse, time_taken: float) -> None:
        now = time.strftime("%Y-%m-%d %H:%M:%S")
        path = request.rel_url.raw_path
        line = f"{now} {request.remote} {request.method} {path} {response.status} {time_taken * 1000:.1f} ms\n"
        with suppress(
            OSError, AttributeError
        ):  # a full disk, a reader that left, no stderr: no reason to stop answering
            sys.stderr.write(line)


class Calm(logging.Filter):
    """Leaves out the tracebacks that libraries log for what a client or the database did, not the program; and what a
    client did is no error."""

    def filter(self, record: logging.LogRecord) -> bool:
        exc = record.exc_info[1] if record.exc_info else None
        if isinstance(exc, HttpProcessingError | web.RequestPayloadError):
            record.exc_info, record.levelno, record.levelname = None, logging.INFO, "INFO"
        elif getattr(exc, "pgcode", None) == QUERY_CANCELED:
            record.exc_info = None
        return True
