"""Defer SIGTERM in a worker until its pack is saved; then the process ends."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType


class Sigterm:
    """Defers SIGTERM.

    Attributes:
        received: whether a SIGTERM arrived while it was deferred.
    """

    def __init__(self) -> None:
        self.received = False

    @contextmanager
    def held(self) -> Iterator[None]:
        """Defer SIGTERM during a `with` block; afterwards a SIGTERM that arrived takes effect.

        Outside the main thread, where Python cannot handle signals, this does nothing.
        """
        if threading.current_thread() is not threading.main_thread():
            yield
            return
        before = signal.signal(signal.SIGTERM, self._receive)
        try:
            yield
        finally:
            signal.signal(signal.SIGTERM, before)
            if self.received:
                signal.raise_signal(signal.SIGTERM)

    def _receive(self, number: int, frame: FrameType | None) -> None:
        self.received = True
