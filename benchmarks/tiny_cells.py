"""Measure the cost of Tune and of the sweep directory, with cells that cost next to nothing.

    python benchmarks/tiny_cells.py [--cells 1250 2500 5000 10000] [--unpacked 500]

Each cell is a network of 4 units that takes 5 tasks of 2 steps: about 3 milliseconds. Whole commands are measured:

- sweeps with these numbers of cells, packed as lop-sweep does by default,
- the same command again, with nothing missing,
- sweeps with one trial per cell (`--pack 1`).

Memory is the driver's. The table also has the result of `lop-sweep audit`.
"""

from __future__ import annotations

import argparse
import json
import math
import sys
import tempfile
from pathlib import Path
from typing import Any

from harness import LOP_SWEEP, Section, files_and_bytes, run, write_space

FIELDS = {"width": 4, "depth": 1, "samples": 8, "steps": 2, "tasks": 5, "fresh_baseline": 1}


def measure(folder: Path, cells: int, *options: str) -> dict[str, Any]:
    """Run a sweep, the same command again, and an audit."""
    lrs = [0.01 * k for k in range(1, 51)]
    if cells % len(lrs):
        raise SystemExit(f"`--cells` must be a multiple of {len(lrs)}, the number of learning rates, got {cells}.")
    space = write_space(folder / "tiny.py", {**FIELDS, "lr": lrs, "seed": list(range(cells // len(lrs)))})
    out = folder / "out"
    first = run(*LOP_SWEEP, "sweep", space, "--out", out, "--no-progress", *options)
    files, size = files_and_bytes(out)
    sizes = json.loads((out / "sweep.json").read_text())["sizes"]
    again = run(*LOP_SWEEP, "sweep", space, "--out", out, "--no-progress", *options)
    audit = run(*LOP_SWEEP, "audit", out).output.splitlines()[-1]
    reports = sizes["packs"] * math.ceil(FIELDS["tasks"] / sizes["tasks_per_report"][1])
    return {
        "cells": cells, "packs": sizes["packs"], "reports": reports, "seconds": first.seconds,
        "driver_bytes": first.peak_bytes, "files": files, "bytes": size, "again": again.seconds, "audit": audit,
    }  # fmt: skip


def grow(counts: list[int], unpacked: list[int]) -> Section:
    """Measure all numbers of cells, and return the table."""
    rows, data = [], []
    for options, numbers in (((), counts), (("--pack", "1"), unpacked)):
        before: dict[str, Any] | None = None
        for cells in numbers:
            with tempfile.TemporaryDirectory() as folder:
                figures = measure(Path(folder), cells, *options)
            growth = figures["seconds"] / before["seconds"] if before and cells == 2 * before["cells"] else None
            data.append({**figures, "options": options, "growth": growth})
            rows.append(_cells(figures, "packed" if not options else "one trial per cell", growth))
            before = figures
    columns = (
        "", "cells", "packs", "seconds", "doubling takes", "reports per second", "driver's memory", "files",
        "on the disk", "nothing missing", "audit",
    )  # fmt: skip
    numbers = (" ".join(map(str, values)) for values in (counts, unpacked))
    command = "python benchmarks/tiny_cells.py --cells {} --unpacked {}".format(*numbers)
    return Section("Ten thousand tiny cells", command, columns, rows, data)


def _cells(figures: dict[str, Any], how: str, growth: float | None) -> tuple[str, ...]:
    return (
        how, f"{figures['cells']:,}", f"{figures['packs']:,}", f"{figures['seconds']:.1f}",
        "" if growth is None else f"{growth:.2f}", f"{figures['reports'] / figures['seconds']:.1f}",
        f"{figures['driver_bytes'] / 1e9:.2f} GB", f"{figures['files']:,}", f"{figures['bytes'] / 1e6:.1f} MB",
        f"{figures['again']:.1f} s", figures["audit"].rpartition(": ")[2],
    )  # fmt: skip


def main() -> int:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cells", type=int, nargs="+", default=[1250, 2500, 5000, 10_000])
    parser.add_argument("--unpacked", type=int, nargs="*", default=[500])
    options = parser.parse_args()
    print(grow(options.cells, options.unpacked).markdown())
    return 0


if __name__ == "__main__":
    sys.exit(main())
