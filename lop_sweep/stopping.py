"""Stopping a sweep in order: on Ctrl-C, on SIGTERM, or because going on makes no sense."""

from __future__ import annotations

import logging
import os
import signal
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any

from ray import tune

from lop_sweep.errors import LopSweepError

GRACE_SECONDS = 25.0
"""For the trials to save and for Tune to end; batch systems kill after 30 seconds."""

_log = logging.getLogger(__name__)


class Stop:
    """A request to stop, from whichever side comes first.

    Attributes:
        signal: the signal that asked for it, or None.
        error: why going on makes no sense, or None.
        ended: set once nothing is left to be stopped.
    """

    def __init__(self) -> None:
        self.signal: int | None = None
        self.error: LopSweepError | None = None
        self.ended = threading.Event()
        self._requested = threading.Event()

    def __bool__(self) -> bool:
        return self._requested.is_set()

    def wait(self, seconds: float) -> None:
        """Wait for a request, for so long at most."""
        self._requested.wait(seconds)

    def on_signal(self, number: int) -> None:
        """Stop because of a signal."""
        self.signal = number
        self._requested.set()

    def because(self, error: LopSweepError) -> None:
        """Stop because of `error`, unless something else has asked for it already."""
        if not self:
            self.error = error
            self._requested.set()


class TuneStopper(tune.Stopper):
    """Ends Tune's loop once a stop is requested; its trials are asked to stop, and save.

    Args:
        stop: the request.
        announce: called once when it is first seen.
    """

    def __init__(self, stop: Stop, announce: Callable[[], None]) -> None:
        self._stop, self._announce, self._announced = stop, announce, False

    def __reduce__(self) -> tuple[Any, ...]:  # Tune pickles its stoppers; nothing of ours reads that back
        return (TuneStopper, (None, None))

    def __call__(self, trial_id: str, result: dict[str, Any]) -> bool:
        """No single trial is stopped."""
        return False

    def stop_all(self) -> bool:
        """Whether to stop everything."""
        if self._stop and not self._announced:
            self._announced = True
            self._announce()
        return bool(self._stop)


@contextmanager
def stopping_on_signals(stop: Stop, ray_answers: Callable[[], bool], last_resort: Callable[[], None]) -> Iterator[None]:
    """Turn the first SIGINT or SIGTERM into a request to stop; a second one ends the process as usual.

    A signal to a whole process group or control group, as batch systems send it, ends Ray's processes too, and then
    Tune would wait in vain: if Ray is gone, or nothing has ended after `GRACE_SECONDS`, this process ends itself. The
    signal is noticed by a thread of its own, because the main one may be within Ray, waiting for what is gone.

    In a thread other than the main one, where signals cannot be handled, this does nothing.

    Args:
        stop: where the request goes.
        ray_answers: whether Ray is still there.
        last_resort: called before this process ends itself.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def ask(number: int) -> None:
        with once:
            if stop.signal is not None:
                return
            stop.on_signal(number)
        _log.warning("stopping: trials save what they have; once more to stop at once")
        threading.Thread(
            target=_end_if_stuck, args=(stop, ray_answers, last_resort), name="last resort", daemon=True
        ).start()

    def handle(number: int, frame: FrameType | None) -> None:
        ask(number)
        restore()

    def listen() -> None:
        with arrived:
            while number := arrived.recv(1):
                if number[0] in before:
                    ask(number[0])

    def restore() -> None:
        for number, handler in before.items():
            signal.signal(number, handler)

    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    once = threading.RLock()  # a handler may come upon itself
    arrived, arriving = socket.socketpair()
    arriving.setblocking(False)
    threading.Thread(target=listen, name="signals", daemon=True).start()
    others = signal.set_wakeup_fd(arriving.fileno(), warn_on_full_buffer=False)
    for number in before:
        signal.signal(number, handle)
    try:
        yield
    finally:
        stop.ended.set()
        restore()
        signal.set_wakeup_fd(others)
        arriving.close()


def _end_if_stuck(stop: Stop, ray_answers: Callable[[], bool], last_resort: Callable[[], None]) -> None:
    deadline = time.monotonic() + GRACE_SECONDS
    while time.monotonic() < deadline and ray_answers():
        if stop.ended.wait(1.0):
            return
    if stop.ended.wait(1.0):
        return
    last_resort()
    os._exit(128 + (stop.signal or 0))
