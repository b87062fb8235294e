"""Read files that may be merged or removed at any moment."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TypeVar

from lop_sweep.errors import MissingFileError

Result = TypeVar("Result")

MAX_ATTEMPTS = 20
_PAUSE_SECONDS = 0.05
"""How much longer each pause is than the one before. The first retry follows at once."""


def read_consistently(read: Callable[[], Result]) -> Result:
    """Return the result of `read`, calling it again where files disappear between its listing and its reading them.

    Args:
        read: lists a folder and reads its files. A compaction may replace them meanwhile.

    Raises:
        MissingFileError: the files kept disappearing, in `MAX_ATTEMPTS` attempts.
    """
    for attempt in range(MAX_ATTEMPTS - 1):
        try:
            return read()
        except MissingFileError:
            time.sleep(_PAUSE_SECONDS * attempt)
    return read()
