"""The entry point of `lop-analysis`: block signals, prepare the process, then import the command."""

from __future__ import annotations

from typing import NoReturn


def main() -> NoReturn:
    """Run `lop-analysis` with this process's arguments and end the process."""
    from lop_sweep.console import signals

    signals.install()  # before anything else is imported
    from lop_sweep.console.entry import run_console

    run_console("lop-analysis", "analysis.cli")


if __name__ == "__main__":
    main()
