"""Measure the cost of resuming a sweep before anything is computed, by the number of its packs.

    python benchmarks/resume_cost.py [--packs 250 1000 4000] [--rounds 3]

Makes sweep directories with these numbers of small packs. All but two packs are finished and have a kept state. One of
the two has a checkpoint. Measures in one run, as medians of several rounds:

    plan                what `lop-sweep sweep` does beside starting Ray: read, collect garbage, find what is missing
    status              what `lop-sweep status` does
    command             the whole command `lop-sweep sweep` with nothing missing, including process start
    compact             `lop-sweep compact`
    command, compacted  the command again
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from harness import LOP_SWEEP, run

from lop_sweep.config import CellConfig
from lop_sweep.pack import Pack
from lop_sweep.planning import SearchSpace, Sizing, make_plan, sweep_status
from lop_sweep.runtime import describe_numerics, limit_threads
from lop_sweep.storage import Store, describe_space
from lop_sweep.storage.maintenance import compact
from lop_sweep.tune.worker import PackRun

SPACE = """
from ray import tune
param_space = {{"width": 2, "depth": 1, "samples": 4, "steps": 1, "tasks": 2, "fresh_baseline": 1,
               "seed": tune.grid_search(list(range({count})))}}
pack = []
"""


def make_sweep(root: Path, count: int) -> tuple[Store, SearchSpace]:
    """Make a sweep directory with `count` packs of one cell, the last two of them unfinished."""
    base = CellConfig(width=2, depth=1, samples=4, steps=1, tasks=2, fresh_baseline=1)
    space = SearchSpace(cells=[base.replace(seed=seed) for seed in range(count)], name="many", pack=())
    store = Store(root)
    store.create()
    store.write_sweep({"dtype": "float64", "created": "today", **describe_space(space)})
    for cell in space.cells[:-2]:
        finish(store, cell)
    started = PackRun(Pack((space.cells[-1],)), store=store)
    started.run_tasks(1)
    started.checkpoint()
    return store, space


def finish(store: Store, cell: CellConfig) -> None:
    """Compute a cell and commit its pack."""
    run = PackRun(Pack((cell,)), store=store, keep_state=True)
    run.run_tasks(cell.tasks)
    run.finish()


def plan(store: Store, space: SearchSpace) -> None:
    """Do what the command does before it computes anything, beside starting Ray."""
    done = set(store.read_cells(["cell", "dtype"])["cell"].to_pylist())
    store.collect_garbage()
    store.checkpoints.discard_finished(done)
    missing = make_plan(space, done, store, Sizing()).items
    assert len(missing) == 2, missing


def seconds(work: Callable[[], object], rounds: int) -> float:
    """Return the median time of a call."""
    times = []
    for _ in range(rounds):
        start = time.perf_counter()
        work()
        times.append(time.perf_counter() - start)
    return statistics.median(times)


def command(store: Store, space_file: Path) -> None:
    """Run the whole command with nothing missing."""
    run(*LOP_SWEEP, "sweep", space_file, "--out", store.root)


def measure(count: int, rounds: int) -> dict[str, float]:
    """Measure everything for one number of packs."""
    with tempfile.TemporaryDirectory() as folder:
        store, space = make_sweep(Path(folder) / "sweep", count)
        space_file = Path(folder) / "many.py"
        space_file.write_text(SPACE.format(count=count))
        figures = {"plan": seconds(lambda: plan(store, space), rounds)}
        figures["status"] = seconds(lambda: sweep_status(store), rounds)
        for cell in space.cells[-2:]:
            finish(store, cell)
        figures["command"] = seconds(lambda: command(store, space_file), rounds)
        start = time.perf_counter()
        compact(store)
        figures["compact"] = time.perf_counter() - start
        figures["command, compacted"] = seconds(lambda: command(store, space_file), rounds)
        return figures


def main() -> None:
    """Print the seconds per number of packs, and their growth from line to line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--packs", type=int, nargs="+", default=[250, 1000, 4000])
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    limit_threads()
    print(describe_numerics())
    before: dict[str, float] | None = None
    for count in options.packs:
        figures = measure(count, options.rounds)
        line = "  ".join(f"{name} {value:6.2f} s" for name, value in figures.items())
        growth = f"   plan x {figures['plan'] / before['plan']:.2f}" if before else ""
        print(f"{count:6} packs: {line}{growth}", flush=True)
        before = figures


if __name__ == "__main__":
    main()
