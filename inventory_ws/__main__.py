"""`python -m inventory_ws`, as the program `inventory-ws`."""

import sys

from .cli.main import main

if __name__ == "__main__":
    sys.exit(main())
