"""What the command line logs, and what it leaves out."""

import logging
import sys
import time
from contextlib import suppress

from aiohttp import web
from aiohttp.abc import AbstractAccessLogger
from aiohttp.http_exceptions import HttpProcessingError


class AccessLog(AbstractAccessLogger):
    """One line a request on stderr, a socket's at its end, without its query: what people look for is their own business.

    It writes them itself: a record of `logging` took a fifth of a GET.
    """

    def log(self, request: web.BaseRequest, response: web.StreamResponse, time_taken: float) -> None:
        now = time.strftime("%Y-%m-%d %H:%M:%S")
        path = request.rel_url.raw_path or "-"
        line = f"{now} {request.remote} {request.method} {path} {response.status} {time_taken * 1000:.1f} ms"
        if not (line.isascii() and line.isprintable()):  # of what may command a terminal, aiohttp lets some pass
            line = ascii(line)[1:-1]
        with suppress(OSError, AttributeError):  # a full disk, a reader that left, no stderr
            sys.stderr.write(f"{line}\n")


class ClientErrorFilter(logging.Filter):
    """Leaves out what aiohttp logs, with tracebacks, for what a client did: the access log has its line."""

    def filter(self, record: logging.LogRecord) -> bool:
        exc = record.exc_info[1] if record.exc_info else None
        return not isinstance(exc, HttpProcessingError | web.RequestPayloadError)
