"""The files beside the code: sql/ and client/."""

from functools import cache
from pathlib import Path


@cache
def data_folder(name: str) -> Path:
    """Return the path of sql/ or client/: inside the package in a wheel, beside it in a checkout."""
    package = Path(__file__).parents[1]
    return next(folder for folder in (package / name, package.parent / name) if folder.is_dir())


def sql_file(name: str) -> str:
    """Return the text of a file in sql/."""
    return (data_folder("sql") / name).read_text("utf-8")
