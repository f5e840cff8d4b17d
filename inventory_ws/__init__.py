"""A product inventory whose every change reaches every open screen at once."""

from .app import create_app
from .database import Unavailable
from .feed import Lost
from .security import bearer
from .watching import Event, watch

__all__ = ["Event", "Lost", "Unavailable", "bearer", "create_app", "watch"]
__version__ = "0.1.0"
