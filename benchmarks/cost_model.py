"""Compare the cost model that sizes packs (`lop_sweep/planning/cost.py`) with the time that cells take on one core.

    python benchmarks/cost_model.py [--components]

The ratio should be the same for all cells: packs then take equally long, on every machine. Cells run one at a time and
in full batches. Times are those that the process spent computing (CPU time).

With `--components`, cells of depth 2 and each of the optimizers, activations, normalisations, mitigations and task
streams are measured alternately with the plain cell of their shape. The table has the factor by which they take longer,
and that of the model.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from typing import Any

from harness import Section, child, spread

SCRIPT = "cost_model.py"
KINDS = ("optimizer", "activation", "norm", "mitigation", "stream")
WIDTHS = (8, 32, 100)
ROUNDS = 3
"""Measurements of each cell with components; the shortest counts."""
SHAPES = ((1, 8), (2, 32), (5, 32), (1, 100), (5, 100), (10, 100), (5, 256))


def measure() -> list[dict[str, float]]:
    """Return the seconds per cell of a short sequence of each shape, measured in this process and by the model."""
    from lop_sweep import runtime

    runtime.prepare_process()
    from lop_sweep.components import cells_per_batch
    from lop_sweep.config import CellConfig
    from lop_sweep.experiment.experiment import Experiment
    from lop_sweep.planning.cost import seconds_left

    runtime.limit_threads()
    rows = []
    for dtype in ("float64", "float32"):
        for depth, width in SHAPES:
            config = CellConfig(depth=depth, width=width, tasks=12, fresh_baseline=3, lr=0.01)
            for batch in sorted({1, cells_per_batch(config, dtype)}):
                cells = [config.replace(seed=seed) for seed in range(batch)]
                Experiment(cells, dtype, batch=batch).run_task()
                start = time.process_time()
                experiment = Experiment(cells, dtype, batch=batch)
                while experiment.tasks_done < config.tasks:
                    experiment.run_task()
                experiment.run_fresh_baseline()
                seconds = (time.process_time() - start) / batch
                model = seconds_left(config, dtype, batch=batch)
                shape = {"depth": depth, "width": width, "dtype": dtype, "batch": batch}
                rows.append({**shape, "model": model, "seconds": seconds})
    return rows


def measure_components() -> list[dict[str, Any]]:
    """Return by what factor a cell of each shape takes longer with each component, measured and by the model."""
    from lop_sweep import runtime

    runtime.prepare_process()
    from lop_sweep.components import cells_per_batch
    from lop_sweep.config import CellConfig
    from lop_sweep.experiment.experiment import Experiment
    from lop_sweep.planning.cost import task_seconds
    from lop_sweep.registry import components

    runtime.limit_threads()
    rows = []
    for dtype in ("float64", "float32"):
        for width in WIDTHS:
            plain = CellConfig(depth=2, width=width, tasks=3, steps=20, fresh_baseline=0, lr=0.01)
            made = {(kind, name): plain.replace(**{kind: name}) for kind in KINDS for name in components(kind)}
            made["", ""] = plain
            for batch in sorted({1, cells_per_batch(plain, dtype)}):
                best = dict.fromkeys(made, float("inf"))
                for _ in range(ROUNDS):
                    for key, config in made.items():
                        cells = [config.replace(seed=seed) for seed in range(batch)]
                        experiment = Experiment(cells, dtype, batch=batch)
                        experiment.run_task()
                        start = time.process_time()
                        while experiment.tasks_done < config.tasks:
                            experiment.run_task()
                        best[key] = min(best[key], time.process_time() - start)
                shape = {"width": width, "dtype": dtype, "batch": batch}
                by_model = task_seconds(plain, dtype, batch)
                for (kind, name), config in made.items():
                    if config != plain:
                        model, factor = task_seconds(config, dtype, batch) / by_model, best[kind, name] / best["", ""]
                        rows.append({"kind": kind, "name": name, **shape, "model": model, "measured": factor})
    return rows


def compare_components() -> Section:
    """Measure components in a fresh process and return the table: one row per component, with the range of ratios."""
    data = child(SCRIPT, "components")
    by_name: dict[tuple[str, str], list[dict[str, Any]]] = {}
    for row in data:
        by_name.setdefault((row["kind"], row["name"]), []).append(row)
    rows = []
    for (kind, name), found in by_name.items():
        ratios = [row["measured"] / row["model"] for row in found]
        sides = [[row[key] for row in found] for key in ("measured", "model")]
        rows.append((kind, f"`{name}`", *map(spread, sides), spread(ratios)))
    columns = ("kind", "component", "times as long as the plain cell", "by the model", "ratio")
    command = "python benchmarks/cost_model.py --components"
    notes = "Median (min to max) over three widths and two dtypes, one cell at a time and in full batches."
    return Section("The cost model of components", command, columns, rows, data, notes)


def compare() -> Section:
    """Measure in a fresh process and return the table."""
    data = child(SCRIPT)
    rows = [
        (str(r["depth"]), str(r["width"]), r["dtype"], str(r["batch"]), f"{r['seconds']:.4f}", f"{r['model']:.4f}",
         f"{r['seconds'] / r['model']:.2f}")
        for r in data
    ]  # fmt: skip
    columns = ("depth", "width", "dtype", "cells per batch", "seconds per cell", "by the model", "ratio")
    return Section("The cost model", "python benchmarks/cost_model.py", columns, rows, data)


def main() -> int:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--components", action="store_true", help="compare components with the plain ones")
    parser.add_argument("--child", nargs="*", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.child is not None:
        print(json.dumps(measure_components() if options.child else measure()))
    else:
        print((compare_components() if options.components else compare()).markdown())
    return 0


if __name__ == "__main__":
    sys.exit(main())
