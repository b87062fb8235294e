"""Graceful shutdown: on SIGINT, on SIGTERM, when Ray is gone, or on an error that ends the whole sweep.

A sweep runs in a thread of its own. The calling thread does nothing but handle signals and watch Ray, so a signal is
handled at once even while the sweep waits within Ray, and Ray's Python code, which only installs handlers in the main
thread, installs none.
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
"""How long trials may take to save after a signal, and Tune to end; batch systems kill after 30 seconds."""
START_SECONDS = 3.0
"""How long everything else may take after a signal as long as no trial has been started."""
LOST_SECONDS = 5.0
"""How long Ray may be out of reach before it is given up."""
SAVE_SECONDS = 2.0
"""How long workers that have lost Ray get to save what they have."""
_LOOK_SECONDS, _LOOK_AT_RAY_SECONDS = 0.02, 0.5
"""How often the waiting thread looks around: more often while Ray may just be starting and take over SIGTERM."""

Result = TypeVar("Result")

_log = logging.getLogger(__name__)


class AbandonedError(Exception):
    """The sweep's thread waits for what will never come, and was abandoned. The message says why."""


class StoppedError(Exception):
    """A stop was requested before there was anything to save."""


class Stop:
    """A request to stop, whoever makes it first.

    Attributes:
        signal: the signal that asked for it, or None.
        error: the error that ends the sweep, or None.
        at_once: whether a second signal asked to stop without waiting for anything.
        abandoned: whether the sweep's thread has been abandoned; it then ends at the next `check`.
        ray_answers: says whether Ray is still there; None while there is no Ray.
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
        """Wait for a request, but no longer than `seconds`."""
        self._requested.wait(seconds)

    def check(self) -> None:
        """Go on only if no stop is requested.

        Raises:
            StoppedError: one is.
        """
        if self:
            raise StoppedError

    def on_signal(self, number: int) -> None:
        """Stop because of a signal; a second one asks to stop at once."""
        if self.signal is not None:
            self.at_once = True
            return
        self.signal = number
        self._requested.set()

    def abandon(self) -> None:
        """Stop, and mark the sweep's thread as abandoned."""
        self.abandoned = True
        self._requested.set()

    def because(self, error: LopSweepError) -> None:
        """Stop because of `error`, unless something else has asked for it already."""
        if not self:
            self.error = error
            self._requested.set()


def attended(work: Callable[[], Result], stop: Stop, abandon: Callable[[], None]) -> Result:
    """Run `work` in a thread of its own while the calling thread handles SIGINT and SIGTERM and watches Ray.

    Args:
        work: what to run; it should return soon once `stop` is requested.
        stop: where signals go.
        abandon: called before `work` is abandoned.

    Returns:
        What `work` returns.

    Raises:
        AbandonedError: `work` did not return, because Ray is gone or hangs, or because a second signal came.
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
            thread.join(_LOOK_SECONDS if stop.ray_answers is None else _LOOK_AT_RAY_SECONDS)
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
        """Return why nothing more can be expected of the sweep's thread; empty as long as something can."""
        stop, now = self._stop, time.monotonic()
        answers = stop.ray_answers
        if answers is None or answers():
            self._lost_at = None
        elif self._lost_at is None:
            self._lost_at = now
        if stop.signal is not None and self._stopped_at is None:
            self._stopped_at = now
            saving = ": trials save what they have" if stop.trials_started else ""
            _log.warning("stopping%s; once more to stop at once", saving)
        if stop.at_once:
            return "a second signal"
        # After a signal to a whole process group Ray is gone too, and there is nothing to wait for.
        patience = 1.0 if stop.signal is not None else LOST_SECONDS
        if self._lost_at is not None and now - self._lost_at >= patience:
            return "Ray is gone"
        grace = GRACE_SECONDS if stop.trials_started else START_SECONDS
        if self._stopped_at is not None and now - self._stopped_at >= grace:
            return "Ray does not answer"
        return ""
