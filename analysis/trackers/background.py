"""Log a sweep while it runs: one thread per tracker, which never delays the sweep and never fails it.

The sweep only wakes the threads. What there is to log is in the sweep directory, so nothing has to be queued, however
slow a tracker is. A tracker that fails is tried again later, and at the end. Whatever it still lacks then,
`lop-sweep log` adds.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Sequence
from pathlib import Path

from analysis.trackers.logbook import Logbook
from analysis.trackers.secrets import without_secrets
from analysis.trackers.tracker import Tracker
from lop_sweep.errors import LopSweepError, single_line

FLUSH_SECONDS = 60.0
"""Maximum time at the end of a sweep for trackers to catch up."""
HURRY_SECONDS = 2.0
"""The same after a signal: batch systems kill after 30 seconds, most of which saving may take."""
PAUSE_SECONDS = 2.0
"""Minimum time between two passes over the sweep directory."""
RETRY_SECONDS, MAX_RETRY_SECONDS = 30.0, 600.0
"""Time until a tracker that has failed is tried again; it doubles with each failure."""

_log = logging.getLogger(__name__)


class BackgroundTracking:
    """Logs a sweep directory to trackers while a sweep writes to it.

    Args:
        directory: the sweep directory; it need not exist yet.
        trackers: where to log; none is possible.
    """

    def __init__(self, directory: str | Path, trackers: Sequence[Tracker]) -> None:
        self._directory = directory
        self._threads = [_Thread(Logbook(directory, tracker)) for tracker in trackers]

    def notify(self, pack: str) -> None:
        """Note that a pack is finished; returns at once."""
        for thread in self._threads:
            thread.wake()

    def finish(self, hurry: bool = False) -> None:
        """Let the trackers catch up, for a bounded time, and report what is not logged.

        Args:
            hurry: whether the sweep was stopped by a signal.
        """
        deadline = time.monotonic() + (HURRY_SECONDS if hurry else FLUSH_SECONDS)
        for thread in self._threads:
            thread.end()
        for thread in self._threads:
            thread.join(max(0.0, deadline - time.monotonic()))
            thread.abandon()
            self._report(thread.book)

    def abandon(self) -> None:
        """End without catching up."""
        for thread in self._threads:
            thread.abandon()

    def _report(self, book: Logbook) -> None:
        count, tracker = book.count, book.tracker
        if count is not None and not count.behind:
            _log.info("%s: %s", tracker.name, count)
            return
        lacking = f"{count.behind} of {count.finished} finished cells are" if count else "the finished cells are"
        _log.warning(
            "%s: %s not logged; lop-sweep log %s %s catches up",
            tracker.name, lacking, self._directory, tracker.option,
        )  # fmt: skip


class _Thread:
    """The thread of one tracker. It starts with the first `wake` or `end`."""

    def __init__(self, book: Logbook) -> None:
        self.book = book
        self._thread = threading.Thread(target=self._run, name=f"tracker {book.tracker.name}", daemon=True)
        self._wanted, self._ending, self._abandoned = threading.Event(), threading.Event(), threading.Event()
        self._warned = False

    def wake(self) -> None:
        self._wanted.set()
        self._start()

    def end(self) -> None:
        self._ending.set()
        self._wanted.set()
        self._start()

    def abandon(self) -> None:
        self._abandoned.set()
        self.end()

    def join(self, seconds: float) -> None:
        self._thread.join(seconds)

    def _start(self) -> None:
        if self._thread.ident is None and not self._abandoned.is_set():
            self._thread.start()

    def _run(self) -> None:
        retry = RETRY_SECONDS
        while not self._abandoned.is_set():
            self._wanted.wait()
            self._wanted.clear()
            last, start = self._ending.is_set(), time.monotonic()
            done = self._pass()
            if last:
                return
            if done:
                pause, retry = max(PAUSE_SECONDS, time.monotonic() - start), RETRY_SECONDS
            else:
                self._wanted.set()
                pause, retry = retry, min(2 * retry, MAX_RETRY_SECONDS)
            self._ending.wait(pause)

    def _pass(self) -> bool:
        """Catch up once; return whether it went well. No error of a tracker leaves this method."""
        try:
            self.book.catch_up(self._abandoned.is_set)
            if self._ending.is_set():
                self.book.close()
        except Exception as error:  # whatever it is, the sweep goes on
            self.book.forget()
            if not self._warned and not self._abandoned.is_set():
                self._warned = True
                reason = single_line(error) if isinstance(error, LopSweepError) else repr(error)
                _log.warning(
                    "%s; the sweep goes on and tries again later; lop-sweep log catches up at any time",
                    without_secrets(reason, self.book.tracker.address),
                )
            return False
        return True
