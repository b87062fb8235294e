"""Measure batches of cells on one CPU core: single steps of several shapes, and whole cells of narrow networks.

    python benchmarks/narrow_cells.py [--rounds 5] [--cells 512] [--tasks 20]

- Steps: one cell at a time, as before there were batches, and in the batches that `Experiment` forms. Both run in one
  process, in turn.
- Whole cells: everything in the protocol, from drawing to metrics and fresh networks. Many seeds in batches and one at
  a time, against the reference implementation in plain PyTorch, whose cells are the first ones of them.

Times are those that the process spent computing (CPU time), so other work on the machine disturbs less. The smallest of
all rounds counts. The last column compares the numbers: to the bit with one cell at a time, to rounding with PyTorch.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Callable
from typing import Any

from harness import Section, child

from lop_sweep import runtime

SCRIPT = "narrow_cells.py"
SHAPES = (
    {"samples": 2, "batch_size": 1, "input_dim": 20, "width": 5, "depth": 1},
    {"samples": 16, "width": 8, "depth": 1},
    {"samples": 96, "width": 32, "depth": 2},
    {"samples": 96, "width": 32, "depth": 5},
    {"samples": 96, "width": 64, "depth": 5},
    {"samples": 96, "width": 100, "depth": 5},
    {"samples": 16, "input_dim": 64, "width": 100, "depth": 3},
)
NARROW = {"samples": 16, "width": 8, "depth": 1, "steps": 40, "lr": 0.1}
STEPS = 60
FRESH_PER_TASK = 5
"""The protocol has 20 fresh networks after 100 tasks."""


def seconds(work: Callable[[], object]) -> float:
    """Return the CPU seconds of a call."""
    start = time.process_time()
    work()
    return time.process_time() - start


def measure_steps(dtype: str, rounds: int) -> list[dict[str, Any]]:
    """Return microseconds of one step of one network, one at a time and in batches, for each shape."""
    runtime.prepare_process()
    import numpy as np

    from lop_sweep.components import cells_per_batch
    from lop_sweep.config import CellConfig
    from lop_sweep.experiment import Experiment

    runtime.limit_threads()
    found = []
    for shape in SHAPES:
        config = CellConfig(lr=0.01, steps=STEPS, tasks=1, fresh_baseline=0, **shape)
        size = cells_per_batch(config, dtype, runtime.cache_bytes())
        count = size * max(8 // size, 1)
        cells = [config.replace(seed=seed) for seed in range(count)]
        best: dict[int, float] = {}
        rows: dict[int, Any] = {}
        for _ in range(rounds):
            for batch in (1, size):
                experiment = Experiment(cells[: min(count, 32)] if batch == 1 else cells, dtype, batch=batch)
                trained = _time_of_training(experiment)
                micros = 1e6 * trained / (len(experiment.configs) * STEPS)
                best[batch] = min(best.get(batch, micros), micros)
                rows[batch] = experiment.diverged_at, [array[:8] for array in experiment.state_dict()["weights"]]
        same = all(np.array_equal(a, b) for a, b in zip(rows[1][1], rows[size][1], strict=True))
        found.append({**shape, "dtype": dtype, "batch": size, "alone": best[1], "together": best[size], "same": same})
    return found


def _time_of_training(experiment: Any) -> float:
    """Run a task of all cells; return the CPU seconds of its gradient steps."""
    from lop_sweep.experiment.backends import NumpyDevice

    spent = []

    def train(self: Any, engine: Any, *task: Any) -> Any:
        start = time.process_time()
        trace = engine.train(*task)
        spent.append(time.process_time() - start)
        return trace

    plain = NumpyDevice.train
    NumpyDevice.train = train  # type: ignore[method-assign]
    try:
        experiment.run_task()
    finally:
        NumpyDevice.train = plain  # type: ignore[method-assign]
    return sum(spent)


def measure_cells(rounds: int, count: int, tasks: int) -> dict[str, Any]:
    """Return the milliseconds of a whole narrow cell: in batches, one at a time, and by the reference."""
    runtime.prepare_process()
    import numpy as np

    from lop_sweep.config import CellConfig
    from lop_sweep.experiment import Experiment, ReferenceExperiment

    runtime.limit_threads()
    config = CellConfig(tasks=tasks, fresh_baseline=max(tasks // FRESH_PER_TASK, 1), **NARROW)
    cells = [config.replace(seed=seed) for seed in range(count)]
    best: dict[str, float] = {}
    losses: dict[str, Any] = {}

    def whole(name: str, experiments: Callable[[], list[Any]], number: int) -> None:
        def work() -> None:
            rows = [[one.run_task() for _ in range(tasks)] for one in made]
            fresh = [one.run_fresh_baseline() for one in made]
            final = np.concatenate([[row["final_ce"][0] for row in each] for each in rows])
            losses[name] = np.concatenate([final, np.concatenate([each[0] for each in fresh])])

        made: list[Any] = []
        millis = 1e3 * (seconds(lambda: made.extend(experiments())) + seconds(work)) / number
        best[name] = min(best.get(name, millis), millis)

    for _ in range(rounds):
        whole("batches", lambda: [Experiment(cells)], count)
        whole("alone", lambda: [Experiment(cells[:1])], 1)
        whole("reference", lambda: [ReferenceExperiment(cells[0])], 1)
    same = np.array_equal(losses["batches"], losses["alone"])
    difference = float(np.max(np.abs(losses["batches"] / losses["reference"] - 1)))
    return {"cells": count, "tasks": tasks, **best, "same": same, "difference": difference}


def compare_steps(rounds: int) -> Section:
    """Measure both dtypes in fresh processes, and return the table of steps."""
    data = [row for dtype in ("float64", "float32") for row in child(SCRIPT, "steps", dtype, rounds)]
    rows = [
        (
            f"{row.get('batch_size') or row['samples']}", f"{row.get('input_dim', 4)}", f"{row['width']}",
            f"{row['depth']}", row["dtype"], f"{row['batch']}", f"{row['alone']:.1f}", f"{row['together']:.2f}",
            f"{row['alone'] / row['together']:.1f}", "equal" if row["same"] else "different",
        )
        for row in data
    ]  # fmt: skip
    columns = (
        "points per update", "inputs", "width", "depth", "dtype", "cells per batch", "us per step, one at a time",
        "in batches", "times as fast", "weights to the bit",
    )  # fmt: skip
    return Section("Batches on one core", f"python benchmarks/{SCRIPT} --rounds {rounds}", columns, rows, data)


def compare_cells(rounds: int, cells: int, tasks: int) -> Section:
    """Measure in a fresh process, and return the table of whole cells."""
    data = child(SCRIPT, "cells", rounds, cells, tasks)
    rows = [
        (
            name, f"{data[key]:.2f}", f"{data['reference'] / data[key]:.1f}",
            "" if key == "reference" else f"{data['difference']:.0e}",
        )
        for name, key in (("in batches", "batches"), ("one at a time", "alone"), ("plain PyTorch", "reference"))
    ]  # fmt: skip
    columns = (f"{cells} narrow cells of {tasks} tasks", "ms per cell", "times as fast as PyTorch", "losses differ by")
    command = f"python benchmarks/{SCRIPT} --rounds {rounds} --cells {cells} --tasks {tasks}"
    notes = "" if data["same"] else "Batches and single cells DIFFER."
    return Section("Whole cells of narrow networks on one core", command, columns, rows, data, notes)


def main() -> int:
    """Print both tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--cells", type=int, default=512)
    parser.add_argument("--tasks", type=int, default=20)
    parser.add_argument("--child", nargs="+", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.child:
        what, *arguments = options.child
        if what == "steps":
            print(json.dumps(measure_steps(arguments[0], int(arguments[1]))))
        else:
            print(json.dumps(measure_cells(*map(int, arguments))))
    else:
        print(compare_steps(options.rounds).markdown(), end="\n")
        print(compare_cells(options.rounds, options.cells, options.tasks).markdown())
    return 0


if __name__ == "__main__":
    sys.exit(main())
