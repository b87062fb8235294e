"""Handle SIGINT and SIGTERM from a command's first instruction to its last. Imports only the standard library.

A command blocks both signals in every thread, and one thread waits for them (`install`). So no library can replace a
handler, and none runs in the middle of an import. Ray's libraries install handlers of their own while Ray starts; those
print the stack and abort the process if it does not end within three seconds.

In a user's process, a script or a notebook, signals must not be blocked. There a sweep installs Python handlers while
it runs.
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
"""Name of a thread that is blocked within Ray for good; a command does not join it when it exits."""

_BASE_STATUS = 128
"""Shells report a process that was ended by a signal as this plus the signal's number."""

Handler = Callable[[int], None]


def exit_status(number: int) -> int:
    """Return the exit status of a command that was stopped by a signal: 130 for SIGINT, 143 for SIGTERM."""
    return _BASE_STATUS + number


def is_abandoned_sweep_running() -> bool:
    """Return whether an earlier sweep of this process is still blocked within Ray."""
    return any(thread.name == ABANDONED for thread in threading.enumerate())


def exit_at_once(number: int) -> None:
    """Report that the command was stopped and end the process, without running anything else."""
    with contextlib.suppress(OSError, ValueError):
        if select.select([], [2], [], 0)[1]:  # a stalled reader must not block this
            os.write(2, f"stopped by {signal.Signals(number).name}\n".encode())
    os._exit(exit_status(number))


class _Listener:
    """The thread that waits for signals in a command's process.

    Attributes:
        handler: called with the number of each signal.
        listening: whether the thread was started.
    """

    def __init__(self) -> None:
        self.handler: Handler = exit_at_once
        self.listening = False

    def start(self) -> None:
        """Block the signals in this thread and its future children, and wait for them in a new thread."""
        self.listening = True
        block()
        for number in HANDLED:  # where they are not blocked: see `unblocked`
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
    """Let SIGINT and SIGTERM end this process with one line from now on. Call it before any thread is started."""
    if not _listener.listening:
        _listener.start()


def block() -> None:
    """Block the signals in this thread, if the process is a command's."""
    if _listener.listening:
        signal.pthread_sigmask(signal.SIG_BLOCK, HANDLED)


@contextlib.contextmanager
def interruptible() -> Iterator[None]:
    """Let SIGINT raise KeyboardInterrupt in this thread, for commands that clean up when interrupted."""
    if _listener.listening:
        signal.signal(signal.SIGINT, signal.default_int_handler)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        block()


@contextlib.contextmanager
def unblocked() -> Iterator[None]:
    """Unblock the signals in this thread for user code, whose child processes would inherit the mask."""
    if _listener.listening:
        _unblock()
    try:
        yield
    finally:
        block()


@contextlib.contextmanager
def handling(handler: Handler) -> Iterator[Callable[[], None]]:
    """Call `handler` with the number of each SIGINT or SIGTERM during a `with` block.

    Where signals are not blocked (see the module's docstring), this uses Python handlers. Ray may replace those while
    it starts, so they have to be installed again. Ray's handler may also have set an alarm that would abort the
    process; ours cancels it. Outside the main thread Python cannot handle signals, and this does nothing.

    Yields:
        A function that installs the handlers again.
    """
    if _listener.listening:
        before, _listener.handler = _listener.handler, handler
        try:
            yield lambda: None
        finally:
            _listener.handler = before
    elif threading.current_thread() is threading.main_thread():
        with _python_handlers(handler) as install_again:
            yield install_again
    else:
        yield lambda: None


@contextlib.contextmanager
def _python_handlers(handler: Handler) -> Iterator[Callable[[], None]]:
    def handle(number: int, frame: FrameType | None) -> None:
        if number == signal.SIGTERM:  # the only one of the two that Ray's libraries handle
            signal.alarm(0)
        handler(number)

    def install_again() -> None:
        for number in HANDLED:
            signal.signal(number, handle)

    before = {number: signal.getsignal(number) for number in HANDLED}
    install_again()
    try:
        yield install_again
    finally:
        for number, earlier in before.items():
            if earlier is not None:  # None: it was not set by Python, which cannot restore it
                signal.signal(number, earlier)
