"""What both console commands do before and after their own work. Imports nothing heavy itself."""

from __future__ import annotations

import contextlib
import importlib
import os
import sys
import threading
from typing import NoReturn

from lop_sweep import machine, signals


def run_console(module: str) -> NoReturn:
    """Prepare the process, import `module`, run its `main` and end the process with the status that it returns.

    Args:
        module: name of a module with a function `main` that returns an exit status.
    """
    signals.install()
    machine.prepare_process()  # before NumPy is imported
    status = importlib.import_module(module).main()
    if any(thread.name == ABANDONED for thread in threading.enumerate()):
        for stream in (sys.stdout, sys.stderr):
            with contextlib.suppress(OSError, ValueError):
                stream.flush()
        os._exit(status)  # Ray's own clean-up would wait for processes that are gone
    sys.exit(status)


ABANDONED = "abandoned sweep"
"""Name of a thread that waits within Ray for what will never come."""
