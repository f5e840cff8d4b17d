"""What the program writes to stderr: a line for each request, and no traceback of a client's error."""

import logging
import sys
import time
from contextlib import suppress

from aiohttp import web
from aiohttp.abc import AbstractAccessLogger
from aiohttp.http_exceptions import HttpProcessingError


class AccessLog(AbstractAccessLogger):
    """Write one line per request to stderr, without the query string, which may be private. A socket has its line when it closes.

    It bypasses `logging`, whose records took a fifth of the time of a GET.
    """

    def log(self, request: web.BaseRequest, response: web.StreamResponse, time_taken: float) -> None:
        now = time.strftime("%Y-%m-%d %H:%M:%S")
        path = request.rel_url.raw_path or "-"
        line = f"{now} {request.remote} {request.method} {path} {response.status} {time_taken * 1000:.1f} ms"
        if not (line.isascii() and line.isprintable()):  # control characters could send commands to a terminal
            line = ascii(line)[1:-1]
        with suppress(OSError, AttributeError):  # a full disk, a closed pipe, or no stderr
            sys.stderr.write(f"{line}\n")


def is_no_client_error(record: logging.LogRecord) -> bool:
    """Filter aiohttp's tracebacks of client errors; the access log has a line for each."""
    exc = record.exc_info[1] if record.exc_info else None
    return not isinstance(exc, HttpProcessingError | web.RequestPayloadError)
