"""Measure what each optional metric, and a control at every task, adds to the time of a default cell.

    python benchmarks/metric_cost.py [--rounds 100] [--dtype float64]

Cells that differ in one metric run task after task in turn, in one process with one thread. All tasks take the same
work, so the fastest of each cell's tasks is compared with that of a cell without optional metrics, in CPU time. What a
metric takes does not depend on the number of updates, except for those of the updates themselves. So the others are
measured in tasks of one update, where differences are clearer. A second cell without optional metrics shows how large a
difference is noise. A default cell has 100 tasks and 20 fresh networks.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Callable

from harness import Section, child

PLAIN, AGAIN, EVERY, CONTROL = "no optional metric", "the same again", "all of them", "control_every = 1"
OF_UPDATES = ("online_accuracy", EVERY, CONTROL)


def measure(rounds: int, dtype: str) -> Section:
    """Measure in a process with one BLAS thread, and return the table."""
    found = child("metric_cost.py", rounds, dtype)
    tasks, cell = found["tasks"], found["cell"]
    added = {name: tasks[name] - tasks[f"{PLAIN} of {name}"] for name in tasks if not name.startswith(PLAIN)}
    rows = [
        (name, f"{1e3 * one:.2f}", f"{100 * one * found['number'] / cell:.1f}%", found["stated"].get(name, ""))
        for name, one in added.items()
    ]
    columns = ("measured besides", "ms per task", "added to a default cell", "as stated")
    plain = tasks[f"{PLAIN} of {EVERY}"]
    notes = f"A task without optional metrics takes {1e3 * plain:.1f} ms, the cell {cell:.2f} s, in {dtype}."
    command = f"python benchmarks/metric_cost.py --rounds {rounds} --dtype {dtype}"
    return Section("What metrics cost", command, columns, rows, found, notes)


def profile(rounds: int, dtype: str) -> dict[str, object]:
    """Return the fastest task of each cell in seconds, those of the whole default cell, and the costs as stated."""
    from lop_sweep import runtime

    runtime.prepare_process()
    from lop_sweep.config import CellConfig
    from lop_sweep.experiment import Experiment
    from lop_sweep.metrics import METRICS, optional_metrics

    runtime.limit_threads()
    config, names = CellConfig(), optional_metrics()
    cells = {AGAIN: config} | {name: config.replace(metrics=[name]) for name in names}
    cells |= {EVERY: config.replace(metrics=names), CONTROL: config.replace(control_every=1)}
    fastest = {}
    for name, cell in cells.items():
        steps = config.steps if name in OF_UPDATES else 1
        tasks = max(2, rounds // (1 if steps == 1 else 4))
        pair = {PLAIN: config, name: cell}
        running = {of: Experiment([one.replace(steps=steps, tasks=tasks)], dtype) for of, one in pair.items()}
        spent: dict[str, list[float]] = {of: [] for of in running}
        for _ in range(tasks):
            for of, experiment in running.items():
                spent[of].append(seconds(experiment.run_task))
        fastest |= {name: min(spent[name]), f"{PLAIN} of {name}": min(spent[PLAIN])}
    short = Experiment([config.replace(tasks=1)], dtype)
    short.run_task()
    fresh = min(seconds(short.run_fresh_network) for _ in range(config.fresh_baseline))
    whole = config.tasks * fastest[f"{PLAIN} of {EVERY}"] + config.fresh_baseline * fresh
    stated = {name: f"{METRICS[name].cost:g}%" for name in names}
    return {"tasks": fastest, "cell": whole, "number": config.tasks, "stated": stated}


def seconds(work: Callable[[], object]) -> float:
    """Return the CPU time of a call."""
    start = time.process_time()
    work()
    return time.process_time() - start


def main() -> int:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=100)
    parser.add_argument("--dtype", choices=("float64", "float32"), default="float64")
    parser.add_argument("--child", nargs=2, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.child:
        print(json.dumps(profile(int(options.child[0]), options.child[1])))
    else:
        print(measure(options.rounds, options.dtype).markdown())
    return 0


if __name__ == "__main__":
    sys.exit(main())
