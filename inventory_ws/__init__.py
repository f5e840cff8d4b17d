"""A product inventory whose every change reaches every open screen at once."""

from .app import create_app
from .postgresql_errors import Unavailable
from .replay import Lost
from .security import bearer
from .watching import Event, Snapshot, products, watch

__all__ = ["Event", "Lost", "Snapshot", "Unavailable", "bearer", "create_app", "products", "watch"]
__version__ = "0.1.0"
