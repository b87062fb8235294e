"""Compare the cost model that sizes packs (`lop_sweep/planning/cost.py`) with the time that cells take on one core.

    python benchmarks/cost_model.py

The ratio should be the same for all cells: packs then take equally long, on every machine. Cells run one at a time and
in full batches. Times are those that the process spent computing (CPU time).
"""

from __future__ import annotations

import argparse
import json
import sys
import time

from harness import Section, child

SCRIPT = "cost_model.py"
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
    parser.add_argument("--child", action="store_true", help=argparse.SUPPRESS)
    if parser.parse_args().child:
        print(json.dumps(measure()))
    else:
        print(compare().markdown())
    return 0


if __name__ == "__main__":
    sys.exit(main())
