"""A product inventory whose every change reaches every open screen at once."""

from .app import create_app
from .postgresql_errors import Unavailable
from .replay import Lost
from .security import bearer
from .watching import Event, Snapshot, snapshot, watch

__all__ = ["Event", "Lost", "Snapshot", "Unavailable", "bearer", "create_app", "snapshot", "watch"]
__version__ = "0.1.0"
