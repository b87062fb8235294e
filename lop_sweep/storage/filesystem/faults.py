"""Points at which a test can crash or freeze the process that writes."""

from __future__ import annotations

import os
import signal
from pathlib import Path

FAULTS = "LOP_SWEEP_FAULTS"
"""Environment variable for tests: a folder of tickets, which are files named after fault points.

The first process that reaches a fault point with a ticket removes the ticket and is killed. It is stopped instead if
the ticket contains "freeze".
"""


def fault_point(name: str) -> None:
    """Kill or stop this process if a test has left a ticket of this name; see `FAULTS`."""
    folder = os.environ.get(FAULTS)
    if folder is None:
        return
    ticket = Path(folder, name)
    try:
        content = ticket.read_text()
        ticket.unlink()
    except FileNotFoundError:
        return
    os.kill(os.getpid(), signal.SIGSTOP if content == "freeze" else signal.SIGKILL)
