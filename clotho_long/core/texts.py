"""Texts that others wrote, as lines that a terminal, a table or another program can take."""

from __future__ import annotations

import re

# Tabs, line breaks and other controls, also those of Unicode that separate lines and paragraphs.
BREAKING = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029]+")
NO_TEXT = "?"
FORMULA = ("=", "+", "-", "@")  # what a cell begins with that a spreadsheet would compute


def one_line(text: str) -> str:
    """A text as one line of Unicode: controls and line breaks become a space, what is no text becomes `?`.

    Never empty: a text of nothing else is `?`.
    """
    unicode = text.encode("utf-8", "replace").decode()  # names of files need not be UTF-8
    return BREAKING.sub(" ", unicode).strip() or NO_TEXT


def cell(text: str) -> str:
    """`one_line` for a table that a spreadsheet may open: what it would compute has a `'` before it."""
    line = one_line(text)
    return f"'{line}" if line.startswith(FORMULA) else line
