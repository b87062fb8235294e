"""SIGINT and SIGTERM from the first instruction of a command to its last. Imports nothing but the standard library.

A command blocks both signals in every thread and lets one thread wait for them (`install`). So there is no handler that
a library could replace, and none that runs in the middle of an import: Ray's libraries install handlers of their own
while Ray starts, which print the stack and abort the process where it does not end within three seconds.

In somebody else's process, a script or a notebook, signals are not ours to block: there a sweep puts Python handlers in
place for as long as it runs.
"""

from __future__ import annotations

import contextlib
import os
import select
import signal
import threading
from collections.abc import Callable, Iterator
from types import FrameType

HANDLED: tuple[signal.Signals, ...] = (signal.SIGINT, signal.SIGTERM)

ABANDONED = "abandoned sweep"
"""Name of a thread that waits within Ray for what will never come; a command does not wait for it at its end."""

_BASE_STATUS = 128
"""Shells report a process that a signal has ended as this plus the signal's number."""

Handler = Callable[[int], None]


def exit_status(number: int) -> int:
    """Return the exit status of a command that signal `number` has stopped: 130 for SIGINT, 143 for SIGTERM."""
    return _BASE_STATUS + number


def is_abandoned_sweep_running() -> bool:
    """Return whether an earlier sweep of this process still waits within Ray."""
    return any(thread.name == ABANDONED for thread in threading.enumerate())


def exit_at_once(number: int) -> None:
    """Say that the command was stopped and end the process, without running anything else."""
    with contextlib.suppress(OSError, ValueError):
        if select.select([], [2], [], 0)[1]:  # a reader that has stalled must not hold this up
            os.write(2, f"stopped by {signal.Signals(number).name}\n".encode())
    os._exit(exit_status(number))


class _Listener:
    """The thread that waits for signals in a command's process.

    Attributes:
        handler: what is done about a signal.
        listening: whether there is such a thread.
    """

    def __init__(self) -> None:
        self.handler: Handler = exit_at_once
        self.listening = False

    def start(self) -> None:
        """Block the signals in this thread and in all that it starts, and wait for them in another one."""
        self.listening = True
        block()
        for number in HANDLED:  # for where they are not blocked, see `unblocked`
            signal.signal(number, lambda number, frame: exit_at_once(number))
        os.register_at_fork(after_in_child=_unblock)  # Ray's processes need them; it forks with a `preexec_fn`
        threading.Thread(target=self._listen, name="signals", daemon=True).start()

    def _listen(self) -> None:
        while True:
            number = signal.sigwait(HANDLED)
            self.handler(number)


_listener = _Listener()


def _unblock() -> None:
    signal.pthread_sigmask(signal.SIG_UNBLOCK, HANDLED)


def install() -> None:
    """Let SIGINT and SIGTERM end this process in one line from now on. To be called before any thread is started."""
    if not _listener.listening:
        _listener.start()


def block() -> None:
    """Block the signals in this thread, if it is a command's."""
    if _listener.listening:
        signal.pthread_sigmask(signal.SIG_BLOCK, HANDLED)


@contextlib.contextmanager
def interruptible() -> Iterator[None]:
    """Let SIGINT raise KeyboardInterrupt in this thread, for commands that clean up on their way out."""
    if _listener.listening:
        signal.signal(signal.SIGINT, signal.default_int_handler)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        block()


@contextlib.contextmanager
def unblocked() -> Iterator[None]:
    """Do not block the signals in this thread: for a user's code, whose child processes would inherit that."""
    if _listener.listening:
        _unblock()
    try:
        yield
    finally:
        block()


@contextlib.contextmanager
def handling(handler: Handler) -> Iterator[Callable[[], None]]:
    """Call `handler` with the number of each SIGINT or SIGTERM for the length of a `with` block.

    Where signals are not blocked (see the module), Python handlers do it. Ray may replace those while it starts, so
    that they have to be put in place again, and its own may have set an alarm that would abort the process, which is
    cancelled. In a thread other than the main one, Python can handle no signals, and nothing happens.

    Yields:
        A function that puts the handlers in place again.
    """
    if _listener.listening:
        before, _listener.handler = _listener.handler, handler
        try:
            yield lambda: None
        finally:
            _listener.handler = before
    elif threading.current_thread() is threading.main_thread():
        with _python_handlers(handler) as put_in_place:
            yield put_in_place
    else:
        yield lambda: None


@contextlib.contextmanager
def _python_handlers(handler: Handler) -> Iterator[Callable[[], None]]:
    def handle(number: int, frame: FrameType | None) -> None:
        if number == signal.SIGTERM:  # the only one of the two that Ray's libraries handle
            signal.alarm(0)
        handler(number)

    def put_in_place() -> None:
        for number in HANDLED:
            signal.signal(number, handle)

    before = {number: signal.getsignal(number) for number in HANDLED}
    put_in_place()
    try:
        yield put_in_place
    finally:
        for number, earlier in before.items():
            if earlier is not None:  # else it was not set by Python, which cannot put it back
                signal.signal(number, earlier)
