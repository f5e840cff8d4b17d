"""A product inventory whose every change reaches every open screen at once."""

from .app import create_app

__all__ = ["create_app"]
__version__ = "0.1.0"
