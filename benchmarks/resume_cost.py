"""What going on with a sweep costs before anything is computed, by the number of its packs.

    python benchmarks/resume_cost.py [--packs 250 1000 4000] [--rounds 3]

Makes sweep directories with so many small packs, of which all but two are finished; one of the two has a checkpoint and
every finished pack a kept state. Measures, in one run, medians of several:

    plan       what `lop-sweep sweep` does beside starting Ray: read what is finished, tidy up, find what is missing
    status     what `lop-sweep status` does
    command    the whole command `lop-sweep sweep` where nothing is missing, process start included
    compacted  plan and command again after `lop-sweep compact`
"""

from __future__ import annotations

import argparse
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from lop_sweep import runtime

runtime.prepare_process()

from lop_sweep.config import CellConfig  # noqa: E402
from lop_sweep.pack import Pack  # noqa: E402
from lop_sweep.planning.packing import Sizing  # noqa: E402
from lop_sweep.planning.plan import make_plan  # noqa: E402
from lop_sweep.planning.space import SearchSpace  # noqa: E402
from lop_sweep.planning.status import sweep_status  # noqa: E402
from lop_sweep.runtime import describe_numerics, limit_threads  # noqa: E402
from lop_sweep.storage import describe_space  # noqa: E402
from lop_sweep.storage.maintenance.compaction import compact  # noqa: E402
from lop_sweep.storage.store import Store  # noqa: E402
from lop_sweep.tune.worker import PackRun  # noqa: E402

SPACE = """
from ray import tune
param_space = {{"width": 2, "depth": 1, "samples": 4, "steps": 1, "tasks": 2, "fresh_baseline": 1,
               "seed": tune.grid_search(list(range({count})))}}
pack = []
"""


def make_sweep(root: Path, count: int) -> tuple[Store, SearchSpace]:
    """A sweep directory with `count` packs of one cell, the last two of them unfinished."""
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
    """Compute a cell."""
    run = PackRun(Pack((cell,)), store=store, keep_state=True)
    run.run_tasks(cell.tasks)
    run.finish()


def plan(store: Store, space: SearchSpace) -> None:
    """What the command does before it computes anything, beside starting Ray."""
    done = set(store.read_cells(["cell", "dtype"])["cell"].to_pylist())
    store.collect_garbage()
    store.checkpoints.discard_finished(done)
    missing = make_plan(space, done, store, Sizing()).items
    assert len(missing) == 2, missing


def seconds(work: Callable[[], object], rounds: int) -> float:
    """Median time."""
    times = []
    for _ in range(rounds):
        start = time.perf_counter()
        work()
        times.append(time.perf_counter() - start)
    return statistics.median(times)


def command(store: Store, space_file: Path) -> None:
    """The whole command where nothing is missing."""
    arguments = [sys.executable, "-m", "lop_sweep", "sweep", str(space_file), "--out", str(store.root)]
    subprocess.run(arguments, check=True, capture_output=True)


def metric(count: int, rounds: int) -> dict[str, float]:
    """All figures for one number of packs."""
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
    """Print a table of seconds, and of the growth from line to line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--packs", type=int, nargs="+", default=[250, 1000, 4000])
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    limit_threads()
    print(describe_numerics())
    before: dict[str, float] | None = None
    for count in options.packs:
        figures = metric(count, options.rounds)
        line = "  ".join(f"{name} {value:6.2f} s" for name, value in figures.items())
        growth = f"   plan x {figures['plan'] / before['plan']:.2f}" if before else ""
        print(f"{count:6} packs: {line}{growth}", flush=True)
        before = figures


if __name__ == "__main__":
    main()
