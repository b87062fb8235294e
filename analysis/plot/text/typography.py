"""The type of figures: its size on a screen and in print, and texts measured and wrapped in it."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractContextManager
from functools import lru_cache

import matplotlib
from matplotlib.font_manager import FontProperties
from matplotlib.textpath import TextToPath

SCREEN_POINTS, PRINT_POINTS = 10.0, 8.0

SMALL, X_SMALL = 0.833, 0.694
"""Matplotlib's named sizes of type, in font sizes."""


def type_points(width: float | None) -> float:
    """Return the font size of a figure: that of print if its width in inches is given, else that of a screen."""
    return SCREEN_POINTS if width is None else PRINT_POINTS


def type_for(width: float | None) -> AbstractContextManager[None]:
    """Return a context in which figures of this width, see `type_points`, are drawn."""
    return matplotlib.rc_context({"font.size": type_points(width), "hatch.linewidth": 0.5})


@lru_cache(maxsize=4096)
def text_inches(text: str, points: float) -> float:
    """Return the width of one line of text in inches."""
    width, _, _ = TextToPath().get_text_width_height_descent(text, FontProperties(size=points), ismath=False)
    return float(width) / 72


def wrapped(text: str, inches: float, points: float) -> list[str]:
    """Return a text in lines of at most this width; a longer word has a line of its own.

    Line breaks are kept, and there are none at no-break spaces.
    """
    lines = []
    for paragraph in text.split("\n"):
        line = ""
        for word in paragraph.split(" "):
            longer = f"{line} {word}" if line else word
            if line and text_inches(longer, points) > inches:
                lines.append(line)
                longer = word
            line = longer
        lines.append(line)
    return [line for line in lines if line]


def unbroken(text: str) -> str:
    """Return a text that is never wrapped."""
    return text.replace(" ", "\N{NO-BREAK SPACE}")


def fitting(parts: Sequence[str], inches: float, points: float) -> int:
    """Return how many parts of a caption fit on one line, separated by semicolons; at least one, if there is one."""
    number = len(parts)
    while number > 1 and text_inches("; ".join(parts[:number]), points) > inches:
        number -= 1
    return number
