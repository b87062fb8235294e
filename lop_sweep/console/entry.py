"""What both console commands do before and after their own work. Imports nothing large itself."""

from __future__ import annotations

import importlib
import os
import sys
from typing import NoReturn

from lop_sweep import runtime
from lop_sweep.console import signals
from lop_sweep.console.arguments import run_to_status
from lop_sweep.console.stdio import ensure_standard_streams


def run_console(prog: str, module: str) -> NoReturn:
    """Prepare the process, import `module`, run its `main` and end the process with the status that it returns.

    Everything that must happen before a command's imports happens here, once, so that commands import what they need
    at the top of their modules. `signals.install` comes even before this module.

    Args:
        prog: the command's name, for error messages.
        module: name of a module with a function `main` that returns an exit status.
    """
    ensure_standard_streams()
    runtime.prepare_process()
    status = run_to_status(prog, lambda: int(importlib.import_module(module).main()))
    if signals.is_abandoned_sweep_running():
        os._exit(status)  # Ray's own cleanup would wait for processes that are gone
    sys.exit(status)
