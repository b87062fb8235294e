"""Names of temporaries: hidden from readers, with the process that wrote them."""

from __future__ import annotations

import os
from pathlib import Path

from lop_sweep.storage.process import ProcessMark, machine_name

ABANDONED_SECONDS = 3600.0
"""Age from which a temporary of another machine counts as abandoned."""


def temporary_beside(path: Path) -> Path:
    """Return a name beside `path` that Parquet readers skip and that names this process."""
    return path.with_name(f".{path.name}~{machine_name()}~{os.getpid()}")


def is_temporary(name: str) -> bool:
    """Return whether `temporary_beside` makes such names."""
    return name.startswith(".") and name.count("~") >= 2


def is_abandoned(name: str, age: float) -> bool:
    """Return whether the process that a temporary's name names has ended, as far as that can be known.

    Args:
        name: of the temporary.
        age: seconds since it was last written.
    """
    _, machine, pid = name.rsplit("~", 2)
    here = machine == machine_name() and pid.isdigit()
    return age > ABANDONED_SECONDS or (here and not ProcessMark.exists(int(pid)))
