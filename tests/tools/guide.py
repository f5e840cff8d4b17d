"""The course in guia/: its chapters in the order of their table of contents."""

import re
from pathlib import Path

FOLDER = Path(__file__).parents[2] / "guia"
CONTENTS = re.findall(r"^- \[([^\]]+)\]\((\S+\.md)\)", (FOLDER / "README.md").read_text(), re.MULTILINE)
"""The title and the file of each chapter."""

CHAPTERS = [(FOLDER / file).read_text() for _, file in CONTENTS]
GUIDE = "\n".join([(FOLDER / "README.md").read_text(), *CHAPTERS])

WORKSHOP = (FOLDER / "02b-cien-lineas.md").read_text()
"""The chapter in which the reader types a program of their own."""
