"""`python -m tests.reliability [name ...]`: what breaks while clients write and listen, each fault with its demands."""

import sys

from ..tools import checks
from . import killed, listening, network, statements

CHECKS = {
    "kill": killed.check_service,
    "kill-postgres": killed.check_postgres,
    "listen-cut": listening.check_cut,
    "no-bell": listening.check_no_bell,
    "network": network.check,
    "refused": statements.check_refused,
    "left": statements.check_left,
}

if __name__ == "__main__":
    sys.exit(checks.main(CHECKS, sys.argv[1:], limit=900.0))
