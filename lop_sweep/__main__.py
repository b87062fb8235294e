"""The entry point of `lop-sweep`: block signals, prepare the process, then import the command."""

from __future__ import annotations

from typing import NoReturn


def main() -> NoReturn:
    """Run `lop-sweep` with this process's arguments and end the process."""
    from lop_sweep.console import signals

    signals.install()  # before anything else is imported
    from lop_sweep.console.entry import run_console

    run_console("lop-sweep", "lop_sweep.cli")


if __name__ == "__main__":
    main()
