"""`python -m tests.reliability [name ...]`: what breaks while clients write and listen, each fault with its demands."""

import sys

from ..tools import checks
from . import (
    crowded,
    disk,
    failover,
    generated,
    killed,
    listening,
    malformed,
    matrix,
    network,
    patroni,
    role,
    rolling,
    seams,
    slow,
    soak,
    start,
    statements,
    stop,
)

CHECKS = {
    "kill": killed.check_service,
    "kill-postgres": killed.check_postgres,
    "failover": failover.check,
    "rolling": rolling.check,
    "listen-cut": listening.check_cut,
    "no-bell": listening.check_no_bell,
    "network": network.check,
    "refused": statements.check_refused,
    "left": statements.check_left,
    "slow": slow.check,
    "crowded": crowded.check,
    "malformed": malformed.check,
    "generated": generated.check,
    "matrix": matrix.check,
    "start": start.check,
    "disk": disk.check,
    "stop": stop.check,
    "role": role.check,
    "patroni": patroni.check,
    "seams": seams.check,
    "soak": soak.check,
}

if __name__ == "__main__":
    sys.exit(checks.main(CHECKS, sys.argv[1:], limit=900.0))
