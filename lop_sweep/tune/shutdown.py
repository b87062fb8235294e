"""Graceful shutdown on SIGINT, SIGTERM, a lost Ray or a fatal error.

A sweep runs in its own thread. The calling thread only handles signals and watches Ray, so a signal is handled at once
even while the sweep is blocked within Ray. Ray's Python code installs signal handlers only in the main thread, so here
it installs none.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future
from typing import TypeVar

from lop_sweep.console.signals import ABANDONED, handling
from lop_sweep.errors import LopSweepError

GRACE_SECONDS = 25.0
"""Timeout after a signal for trials to save and Tune to end; batch systems kill after 30 seconds."""
START_SECONDS = 3.0
"""Timeout after a signal before any trial was started."""
LOST_SECONDS = 5.0
"""Timeout for a Ray that does not answer."""
SAVE_SECONDS = 2.0
"""Time for workers that have lost Ray to save."""
_POLL_SECONDS, _POLL_RAY_SECONDS = 0.02, 0.5
"""Poll intervals of the waiting thread: shorter while Ray may be starting and replace the handler of SIGTERM."""

Result = TypeVar("Result")

_log = logging.getLogger(__name__)


class AbandonedError(Exception):
    """The sweep's thread is blocked for good and was abandoned. The message says why."""


class StoppedError(Exception):
    """A stop was requested before there was anything to save."""


class Stop:
    """A request to stop. The first reason counts.

    Attributes:
        signal: the signal that requested it, or None.
        error: the error that ends the sweep, or None.
        at_once: whether a second signal requested to stop without waiting.
        abandoned: whether the sweep's thread was abandoned; it then ends at its next `check`.
        ray_answers: returns whether Ray still answers; None while there is no Ray.
        trials_started: whether there may be something to save.
    """

    def __init__(self) -> None:
        self.signal: int | None = None
        self.error: LopSweepError | None = None
        self.at_once = False
        self.abandoned = False
        self.ray_answers: Callable[[], bool] | None = None
        self.trials_started = False
        self._requested = threading.Event()

    def __bool__(self) -> bool:
        return self._requested.is_set()

    def wait(self, seconds: float) -> None:
        """Wait for a request, for at most `seconds`."""
        self._requested.wait(seconds)

    def check(self) -> None:
        """Check that no stop is requested.

        Raises:
            StoppedError: a stop is requested.
        """
        if self:
            raise StoppedError

    def on_signal(self, number: int) -> None:
        """Request a stop because of a signal; a second signal requests to stop at once."""
        if self.signal is not None:
            self.at_once = True
            return
        self.signal = number
        self._requested.set()

    def abandon(self) -> None:
        """Request a stop, and mark the sweep's thread as abandoned."""
        self.abandoned = True
        self._requested.set()

    def because(self, error: LopSweepError) -> None:
        """Request a stop because of `error`, unless one is requested already."""
        if not self:
            self.error = error
            self._requested.set()


def attended(work: Callable[[], Result], stop: Stop, abandon: Callable[[], None]) -> Result:
    """Run `work` in a new thread while the calling thread handles SIGINT and SIGTERM and watches Ray.

    Args:
        work: called in the new thread; it should return soon once `stop` is requested.
        stop: receives the signals.
        abandon: called before `work` is abandoned.

    Returns:
        What `work` returns.

    Raises:
        AbandonedError: `work` did not return: Ray is lost or hangs, or a second signal arrived.
        Exception: whatever `work` raises.
    """
    result: Future[Result] = Future()

    def run() -> None:
        try:
            result.set_result(work())
        except BaseException as error:  # it is raised again below, in the caller's thread
            result.set_exception(error)

    thread = threading.Thread(target=run, name="sweep", daemon=True)
    with handling(stop.on_signal) as handle_again:
        thread.start()
        watch = _Watch(stop)
        while thread.is_alive():
            thread.join(_POLL_SECONDS if stop.ray_answers is None else _POLL_RAY_SECONDS)
            handle_again()
            reason = watch.reason_to_abandon()
            if reason and thread.is_alive():
                thread.name = ABANDONED
                stop.abandon()
                abandon()
                raise AbandonedError(reason)
    return result.result()


class _Watch:
    """Decides when a sweep's thread has to be abandoned."""

    def __init__(self, stop: Stop) -> None:
        self._stop = stop
        self._stopped_at: float | None = None
        self._lost_at: float | None = None

    def reason_to_abandon(self) -> str:
        """Return why the sweep's thread will not end by itself; empty while it may."""
        stop, now = self._stop, time.monotonic()
        answers = stop.ray_answers
        if answers is None or answers():
            self._lost_at = None
        elif self._lost_at is None:
            self._lost_at = now
        if stop.signal is not None and self._stopped_at is None:
            self._stopped_at = now
            saving = ": trials save their state" if stop.trials_started else ""
            _log.warning("stopping%s; signal again to stop at once", saving)
        if stop.at_once:
            return "a second signal"
        # A signal to the whole process group also ends Ray, and then there is nothing to wait for.
        patience = 1.0 if stop.signal is not None else LOST_SECONDS
        if self._lost_at is not None and now - self._lost_at >= patience:
            return "Ray is lost"
        grace = GRACE_SECONDS if stop.trials_started else START_SECONDS
        if self._stopped_at is not None and now - self._stopped_at >= grace:
            return "Ray does not answer"
        return ""
