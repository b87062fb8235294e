"""The interface of a tracker, and its errors as one line without credentials."""

from __future__ import annotations

import importlib.util
import textwrap
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Protocol

from analysis.trackers.records import CellRecord
from analysis.trackers.secrets import without_secrets
from lop_sweep.errors import LopSweepError, TrackerError, single_line


@dataclass(frozen=True)
class SweepLabel:
    """How a sweep is called in a tracker.

    Attributes:
        name: of its search space.
        origin: of its directory, 16 digits. It stays the same when the search space changes.
    """

    name: str
    origin: str

    def __str__(self) -> str:
        return f"{self.name} {self.origin}"


class Tracker(Protocol):
    """Where cells are logged, one run each. Methods may raise anything; see `tracker_errors`.

    Attributes:
        name: for messages.
        option: what to write after `lop-sweep log DIR`, without credentials.
        address: may hold credentials, so it is never shown.
        takes_pending: whether it logs cells whose scores are not final yet.
    """

    name: str
    option: str
    address: str
    takes_pending: bool

    def open(self, sweep: SweepLabel) -> dict[str, str]:
        """Connect; return the state of each cell that is logged completely, by cell id."""

    def write(self, record: CellRecord, logged: bool) -> None:
        """Log a cell. If it is logged already, replace its scores and labels only."""

    def close(self) -> None:
        """Finish what is open; the tracker can be opened again."""


@contextmanager
def tracker_errors(tracker: Tracker) -> Iterator[None]:
    """Turn whatever a tracker's library raises into a `TrackerError` without credentials.

    The libraries raise errors of their own, of HTTP clients and of the system. Their messages and tracebacks hold
    addresses, so the original error is not chained.
    """
    try:
        yield
    except LopSweepError:
        raise
    except Exception as error:
        text = without_secrets(single_line(error), tracker.address)
        message = text if text.startswith(type(error).__name__) else f"{type(error).__name__}: {text}"
        message = textwrap.shorten(message, _MAX_CHARACTERS, placeholder=" ...")
        raise TrackerError(f"{tracker.name}: {message}") from None


_MAX_CHARACTERS = 300
"""Of a library's message."""


def require(package: str, option: str, extra: str) -> None:
    """Check that a package is installed, without importing it.

    Raises:
        TrackerError: it is not. The message names the extra that installs it.
    """
    if importlib.util.find_spec(package) is None:
        raise TrackerError(f"{option} needs {package}, which is not installed: pip install 'lop-sweep[{extra}]'")
