"""SIGINT and SIGTERM from the first instruction of a command to its last. Imports nothing but the standard library.

A command installs `exit_at_once` before anything heavy is imported: while libraries are loaded there is nothing to
save, and an exception raised in the middle of an import would end in a traceback. A sweep then puts a handler of its
own in place (`lop_sweep.stopping`), which saves first.
"""

from __future__ import annotations

import contextlib
import os
import signal
import threading
from collections.abc import Callable, Iterator
from types import FrameType

HANDLED: tuple[signal.Signals, ...] = (signal.SIGINT, signal.SIGTERM)

ABANDONED = "abandoned sweep"
"""Name of a thread that waits within Ray for what will never come; a command does not wait for it at its end."""

_BASE_STATUS = 128
"""Shells report a process that a signal has ended as this plus the signal's number."""


def exit_status(number: int) -> int:
    """Return the exit status of a command that signal `number` has stopped: 130 for SIGINT, 143 for SIGTERM."""
    return _BASE_STATUS + number


def exit_at_once(number: int, frame: FrameType | None) -> None:
    """Say that the command was stopped and end the process, without running anything else."""
    with contextlib.suppress(OSError):
        os.write(2, f"stopped by {signal.Signals(number).name}; what is finished is kept\n".encode())
    os._exit(exit_status(number))


def install() -> None:
    """Let SIGINT and SIGTERM end this process in one line from now on."""
    for number in HANDLED:
        signal.signal(number, exit_at_once)


def allow_interrupts() -> None:
    """Let SIGINT raise KeyboardInterrupt again, for commands that clean up on their way out."""
    if signal.getsignal(signal.SIGINT) is exit_at_once:
        signal.signal(signal.SIGINT, signal.default_int_handler)


@contextlib.contextmanager
def handling(handler: Callable[[int], None]) -> Iterator[Callable[[], None]]:
    """Call `handler` with the number of each SIGINT or SIGTERM for the length of a `with` block.

    Ray's libraries put a handler of their own beneath Python's while Ray starts. It prints the stack and, where that
    does not end the process, lets an alarm abort it three seconds later. So the alarm is cancelled here, and the
    handler is put in place again each time the function that the block receives is called.

    In a thread other than the main one, where signals cannot be handled, nothing happens.

    Yields:
        A function that puts the handler in place again.
    """
    if threading.current_thread() is not threading.main_thread():
        yield lambda: None
        return

    def handle(number: int, frame: FrameType | None) -> None:
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
            signal.signal(number, earlier)
