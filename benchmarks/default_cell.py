"""Time one default cell: the whole command from process start to files written, and the parts of its time.

    python benchmarks/default_cell.py [--rounds 3]

Compares `lop-sweep run` with `lop-sweep run --engine reference` (plain PyTorch, one thread), alternating. The table
also has the mean final cross-entropy that each reports. The default cell is beyond the edge of stability, where
rounding decides the course of a single cell: only the order of magnitude can agree.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path
from typing import Any

from harness import LOP_SWEEP, ONE_THREAD, Section, child, median, run, spread

SCRIPT = "default_cell.py"
PARTS = {
    "train": "gradient steps",
    "_compute_metrics": "metrics",
    "draw_networks": "drawing networks",
    "draw": "drawing tasks",
}


def whole(rounds: int) -> Section:
    """Time the command and the reference, and return the table."""
    kinds = {"lop-sweep run": (), "float32": ("--dtype", "float32"), "plain PyTorch": ("--engine", "reference")}
    seconds: dict[str, list[float]] = {name: [] for name in kinds}
    losses: dict[str, float] = {}
    with tempfile.TemporaryDirectory() as folder:
        for _ in range(rounds):
            for name, options in kinds.items():
                done = run(*LOP_SWEEP, "run", "--no-progress", "--out", Path(folder) / "out", *options, env=ONE_THREAD)
                seconds[name].append(done.seconds)
                losses[name] = json.loads(done.output[done.output.index("{") :])["mean_final_CE"]
    rows = []
    for name in kinds:
        ratios = [theirs / ours for ours, theirs in zip(seconds[name], seconds["plain PyTorch"], strict=True)]
        rows.append((name, spread(seconds[name]), spread(ratios), f"{losses[name]:.4f}"))
    columns = ("", "seconds", "plain PyTorch / this", "mean final CE")
    data = {"seconds": seconds, "mean_final_ce": losses}
    return Section("A whole default cell", f"python benchmarks/default_cell.py --rounds {rounds}", columns, rows, data)


def shares(rounds: int) -> Section:
    """Measure the share of each part of the engine's time, and return the table."""
    rows, data = [], {}
    for dtype in ("float64", "float32"):
        measured = [child(SCRIPT, dtype) for _ in range(rounds)]
        data[dtype] = measured
        part = {name: median([one[name] / one["all"] for one in measured]) for name in PARTS}
        rest = 1 - sum(part.values())
        rows.append((dtype, *(f"{100 * share:.1f}%" for share in (*part.values(), rest))))
    command = f"python benchmarks/default_cell.py --rounds {rounds}"
    return Section("Where a default cell's time goes", command, ("", *PARTS.values(), "everything else"), rows, data)


def profile(dtype: str) -> dict[str, float]:
    """Return the seconds of each part of a default cell, measured in this process."""
    from lop_sweep import runtime

    runtime.prepare_process()
    from lop_sweep.components.streams import GaussianMixture
    from lop_sweep.config import CellConfig
    from lop_sweep.experiment import Experiment, batch
    from lop_sweep.experiment.engine import Engine

    runtime.limit_threads()
    spent: dict[str, float] = defaultdict(float)

    def timed(name: str, work: Callable[..., Any]) -> Callable[..., Any]:
        def wrapper(*arguments: Any) -> Any:
            start = time.perf_counter()
            result = work(*arguments)
            spent[name] += time.perf_counter() - start
            return result

        return wrapper

    for owner, name in (
        (Engine, "train"),
        (batch.CellBatch, "_compute_metrics"),
        (batch, "draw_networks"),
        (GaussianMixture, "draw"),
    ):
        setattr(owner, name, timed(name, getattr(owner, name)))
    Experiment([CellConfig(tasks=1, fresh_baseline=1)], dtype).run_task()  # the first calls are slow
    spent.clear()
    start = time.perf_counter()
    experiment = Experiment([CellConfig()], dtype)
    while experiment.tasks_done < experiment.tasks:
        experiment.run_task()
    experiment.run_fresh_baseline()
    return {**spent, "all": time.perf_counter() - start}


def main() -> int:
    """Print both tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--child", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.child:
        print(json.dumps(profile(options.child)))
    else:
        print(whole(options.rounds).markdown(), shares(options.rounds).markdown(), sep="\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
