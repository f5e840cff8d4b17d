"""A product inventory whose every change reaches every open screen at once."""

from .app import create_app
from .live.replay import Lost
from .live.watch import Event, Snapshot, snapshot, watch
from .pg.errors import Unavailable
from .web.security import bearer

__all__ = ["Event", "Lost", "Snapshot", "Unavailable", "bearer", "create_app", "snapshot", "watch"]
__version__ = "0.1.0"
