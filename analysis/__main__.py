"""Where the command `lop-analysis` begins: the streams are made safe before anything large is imported."""

from __future__ import annotations

from lop_sweep.stdio import ensure_standard_streams

ensure_standard_streams()

import sys  # noqa: E402

from lop_sweep.arguments import exit_status  # noqa: E402


def main() -> int:
    """Run the command; returns its exit status: 0 done, 2 bad input."""

    def command() -> int:
        from analysis import cli

        return cli.main()

    return exit_status("lop-analysis", command)


if __name__ == "__main__":
    sys.exit(main())
