"""Measure planning: expand a grid of up to a million cells, divide it into packs, write `sweep.json` and read it.

    python benchmarks/planning_scale.py [--cells 10000 100000 1000000]

The grid has 5 depths, 20 learning rates, 10 values of delta, 10 of sigma, and seeds. Each number of cells is measured
in a process of its own. Peak memory includes Ray's import. CPU time says more than wall-clock time on a busy machine.
"""

from __future__ import annotations

import argparse
import json
import resource
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from harness import Section, child

STAGES = ("expand", "ids", "plan", "write", "read")
"""What a driver does before its first trial, and what `status` and the analysis do first."""
CONFIGURATIONS = 5 * 20 * 10 * 10


def plan_once(cells: int, slots: int) -> dict[str, Any]:
    """Plan a grid; return the seconds of CPU and wall-clock time per stage, and sizes in bytes."""
    from lop_sweep.ray_environment import prepare_environment

    prepare_environment()
    from ray import tune

    from lop_sweep.planning import SearchSpace, Sizing, make_plan
    from lop_sweep.storage import Store, describe_space, requested_cells

    grid: dict[str, Any] = {
        "depth": [1, 2, 5, 8, 10],
        "lr": [0.02 * k for k in range(1, 21)],
        "delta": [0.2 * k for k in range(10)],
        "sigma": [0.05 * k for k in range(1, 11)],
        "seed": list(range(cells // CONFIGURATIONS)),
    }
    times: dict[str, dict[str, float]] = {}

    @contextmanager
    def stage(name: str) -> Iterator[None]:
        wall, cpu = time.perf_counter(), time.process_time()
        yield
        times[name] = {"seconds": time.perf_counter() - wall, "cpu": time.process_time() - cpu}

    with tempfile.TemporaryDirectory() as folder:
        store = Store(Path(folder) / "out")
        store.create()
        with stage("expand"):
            space = SearchSpace({name: tune.grid_search(values) for name, values in grid.items()}, name="many")
        with stage("ids"):
            ids = {cell.id for cell in space.cells}
        with stage("plan"):
            plan = make_plan(space, set(), store, Sizing(slots=slots))
        with stage("write"):
            store.write_sweep({"dtype": "float64", "created": "today", **describe_space(space)})
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
        with stage("read"):
            read = requested_cells(store.read_sweep() or {})
        size = (store.root / "sweep.json").stat().st_size
    assert len(ids) == cells
    assert read == space.cells
    assert sum(len(item.pack.cells) for item in plan.items) == cells
    return {"cells": cells, "times": times, "peak_bytes": peak, "file_bytes": size, "packs": len(plan.items)}


def measure(counts: list[int], slots: int = 100) -> Section:
    """Measure all numbers of cells, and return the table."""
    rows, data = [], []
    for cells in counts:
        if cells % CONFIGURATIONS:
            raise SystemExit(f"`--cells` must be multiples of {CONFIGURATIONS:,}, got {cells}.")
        found = child("planning_scale.py", cells, slots)
        times = found["times"]
        total, cpu = (sum(times[name][kind] for name in STAGES[:-1]) for kind in ("seconds", "cpu"))
        parts = (f"{times[name]['cpu']:.1f}" for name in STAGES)
        size = f"{found['file_bytes'] / 1e3:.1f} kB"
        rows.append(
            (f"{cells:,}", f"{total:.1f}", f"{cpu:.1f}", *parts, f"{found['peak_bytes'] / 1e9:.2f} GB", size,
             f"{found['packs']:,}")
        )  # fmt: skip
        data.append(found)
    columns = (
        "cells", "seconds until written", "CPU seconds", *(f"{name}, CPU s" for name in STAGES), "peak memory",
        "`sweep.json`", "packs",
    )  # fmt: skip
    command = f"python benchmarks/planning_scale.py --cells {' '.join(map(str, counts))}"
    return Section("Planning a grid", command, columns, rows, data)


def main() -> int:
    """Print the table; with --child, the measurement of one number of cells as JSON."""
    if sys.argv[1:2] == ["--child"]:
        print(json.dumps(plan_once(*map(int, sys.argv[2:]))))
        return 0
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cells", type=int, nargs="+", default=[10_000, 100_000, 1_000_000])
    options = parser.parse_args()
    print(measure(options.cells).markdown())
    return 0


if __name__ == "__main__":
    sys.exit(main())
