"""Compare the cost model that sizes packs (`lop_sweep/planning/cost.py`) with the time that cells take on one core.

    python benchmarks/cost_model.py

The ratio should be the same for all cells: packs then take equally long, on every machine.
"""

from __future__ import annotations

import argparse
import json
import sys

from harness import Section, child

SCRIPT = "cost_model.py"
SHAPES = ((1, 8), (2, 32), (5, 32), (1, 100), (5, 100), (10, 100), (5, 256))


def measure() -> list[dict[str, float]]:
    """Return the seconds of a short sequence of each shape, measured in this process and by the model."""
    from lop_sweep import runtime

    runtime.prepare_process()
    from lop_sweep.config import CellConfig
    from lop_sweep.experiment.experiment import Experiment
    from lop_sweep.planning.cost import seconds_left

    runtime.limit_threads()
    rows = []
    for dtype in ("float64", "float32"):
        for depth, width in SHAPES:
            config = CellConfig(depth=depth, width=width, tasks=12, fresh_baseline=3, lr=0.01)
            Experiment([config], dtype).run_task()
            experiment = Experiment([config], dtype)
            while experiment.tasks_done < config.tasks:
                experiment.run_task()
            experiment.run_fresh_baseline()
            model = seconds_left(config, dtype)
            seconds = float(experiment.seconds[0])
            rows.append({"depth": depth, "width": width, "dtype": dtype, "model": model, "seconds": seconds})
    return rows


def compare() -> Section:
    """Measure in a fresh process and return the table."""
    data = child(SCRIPT)
    rows = [
        (str(r["depth"]), str(r["width"]), r["dtype"], f"{r['seconds']:.3f}", f"{r['model']:.3f}",
         f"{r['seconds'] / r['model']:.2f}")
        for r in data
    ]  # fmt: skip
    columns = ("depth", "width", "dtype", "seconds", "by the model", "ratio")
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
