"""A product inventory whose every change reaches every open screen at once."""

__version__ = "0.2.0"

from .app import Snapshot, create_app, snapshot
from .live.log import Lost
from .live.watch import Event, watch
from .pg.errors import Unavailable
from .web.security import bearer

__all__ = ["Event", "Lost", "Snapshot", "Unavailable", "bearer", "create_app", "snapshot", "watch"]
