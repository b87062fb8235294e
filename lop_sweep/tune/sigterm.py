"""SIGTERM in a worker: what is being computed is brought to a point where it can be saved, then the process ends."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType


class Sigterm:
    """Holds SIGTERM back for as long as that is asked for.

    Attributes:
        received: whether one has come while it was held back.
    """

    def __init__(self) -> None:
        self.received = False

    @contextmanager
    def held(self) -> Iterator[None]:
        """Hold SIGTERM back for the length of a `with` block; one that came then does what it would have done.

        In a thread other than the main one, where signals cannot be handled, this does nothing.
        """
        if threading.current_thread() is not threading.main_thread():
            yield
            return
        before = signal.signal(signal.SIGTERM, self._take_note)
        try:
            yield
        finally:
            signal.signal(signal.SIGTERM, before)
            if self.received:
                signal.raise_signal(signal.SIGTERM)

    def _take_note(self, number: int, frame: FrameType | None) -> None:
        self.received = True
