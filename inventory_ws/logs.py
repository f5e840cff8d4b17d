"""What the command line logs, and what it leaves out."""

import logging

from aiohttp import web
from aiohttp.abc import AbstractAccessLogger
from aiohttp.http_exceptions import HttpProcessingError

QUERY_CANCELED = "57014"  # PostgreSQL: statement_timeout


class AccessLog(AbstractAccessLogger):
    """One line a request, without its query: what people look for is their own business."""

    def log(self, request: web.BaseRequest, response: web.StreamResponse, time: float) -> None:
        path = request.rel_url.raw_path
        milliseconds = time * 1000
        self.logger.info("%s %s %s %d %.1f ms", request.remote, request.method, path, response.status, milliseconds)


class Calm(logging.Filter):
    """Leaves out the tracebacks that libraries log for what a client or the database did, not the program."""

    def filter(self, record: logging.LogRecord) -> bool:
        exc = record.exc_info[1] if record.exc_info else None
        if (
            isinstance(exc, HttpProcessingError | web.RequestPayloadError)
            or getattr(exc, "pgcode", None) == QUERY_CANCELED
        ):
            record.exc_info = None
        return True
