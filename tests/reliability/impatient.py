"""`python -m tests.reliability.impatient ...`: the service, with a second where it would give its clients many."""

import sys

from aiohttp.web_protocol import RequestHandler

from inventory_ws.cli import addresses
from inventory_ws.cli import main as program
from inventory_ws.web import reading as requests

LIMIT = 1.0  # seconds

if __name__ == "__main__":
    program.KEEPALIVE = requests.BODY_TIMEOUT = addresses.UNREAD_TIMEOUT = LIMIT
    RequestHandler.__init__.__kwdefaults__["lingering_time"] = LIMIT
    sys.exit(program.main())
