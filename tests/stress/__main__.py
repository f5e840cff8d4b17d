"""`python -m tests.stress [name ...]`: the service under load, on one machine, each check with its demands."""

import sys

from ..tools import checks
from . import compress, copy, dead, page, resume, stalled, storm, together

CHECKS = {
    "storm": storm.check,
    "stalled": stalled.check,
    "resume": resume.check,
    "resume-old": resume.check_old,
    "compress": compress.check,
    "dead": dead.check,
    "page": page.check,
    "copy": copy.check,
    "import": copy.check_import,
    "together": together.check,
}

if __name__ == "__main__":
    sys.exit(checks.main(CHECKS, sys.argv[1:], limit=180.0))
