"""`python -m tests.reliability.watched ...`: the service, which says how many tasks it has when SIGUSR1 asks for it."""

import asyncio
import signal
import sys

from inventory_ws.cli.main import main

signal.signal(signal.SIGUSR1, lambda *_: print("tasks:", len(asyncio.all_tasks()), flush=True))

if __name__ == "__main__":
    sys.exit(main())
