"""Measure what a trial and a report cost the driver, with trials that compute nothing.

    python benchmarks/driver_load.py [--packs 250 1000] [--cells 100] [--reports 2 22]

The real driver, on a real local Ray of two CPUs, starts one trial per pack, receives its reports and commits nothing:
trials only report. The CPU time of the driver's process is measured, the time of Ray's own processes is not. The cost
of a report is the difference between runs with few and many reports per trial.
"""

from __future__ import annotations

import argparse
import json
import resource
import sys
import tempfile
import time
from pathlib import Path
from typing import Any
from unittest import mock

from harness import Section, child


def reporting_trainable() -> type:
    """Return a `LopTrainable` that reports as often as it should, and computes nothing."""
    from lop_sweep.metrics import measured_with
    from lop_sweep.tune.trainable import LopTrainable

    names = list(measured_with())

    class Reporting(LopTrainable):
        def setup(self, config: dict[str, Any]) -> None:
            trial = json.loads(config["trial"])
            self._cells, self._done = len(trial["pack"]["cells"]), 0
            self._tasks, self._step_tasks = trial["pack"]["tasks"], trial["run"]["tasks_per_report"]

        def step(self) -> dict[str, Any]:
            self._done = min(self._done + self._step_tasks, self._tasks)
            metrics = dict.fromkeys(names, 0.5)
            about = {"tasks_done": self._done, "cells": self._cells, "diverged": 0}
            return {**metrics, **about, **({"done": True} if self._done == self._tasks else {})}

        def cleanup(self) -> None:
            pass

        def reset_config(self, new_config: dict[str, Any]) -> bool:
            self.setup(new_config)
            return True

    return Reporting


def sweep_once(packs: int, cells: int, reports: int) -> dict[str, float]:
    """Run the driver once; return its seconds of CPU and of wall-clock time, and its peak memory in bytes."""
    from lop_sweep import run_sweep
    from lop_sweep.planning import SearchSpace
    from lop_sweep.ray_environment import prepare_environment

    prepare_environment()
    from ray import tune

    grid = {
        "seed": tune.grid_search(list(range(cells))),
        "lr": tune.grid_search([0.01 * k for k in range(1, packs + 1)]),
    }
    space = SearchSpace({**grid, "tasks": reports, "fresh_baseline": 0}, name="load", pack=["seed"])
    before, start = _cpu(), time.perf_counter()
    with (
        tempfile.TemporaryDirectory() as folder,
        mock.patch("lop_sweep.tune.trainable.LopTrainable", reporting_trainable()),
    ):
        outcome = run_sweep(space, Path(folder) / "out", cpus=2, tasks_per_report=1, progress=False)
    assert not outcome.failed
    assert not outcome.gave_up
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    return {"cpu": _cpu() - before, "seconds": time.perf_counter() - start, "peak_bytes": peak}


def _cpu() -> float:
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


def measure(packs: list[int], cells: int, reports: tuple[int, int]) -> Section:
    """Measure all numbers of packs, each with few and with many reports per trial, and return the table."""
    rows, data = [], []
    few, many = reports
    for count in packs:
        least, most = (child("driver_load.py", count, cells, number) for number in (few, many))
        report = (most["cpu"] - least["cpu"]) / (count * (many - few))
        trial = least["cpu"] / count - few * report
        data.append({"packs": count, "cells": cells, "few": least, "many": most, "report": report, "trial": trial})
        rows.append(
            (f"{count:,}", f"{count * cells:,}", f"{trial * 1e3:.1f} ms", f"{report * 1e3:.2f} ms",
             f"{count * many / most['seconds']:.0f}", f"{most['peak_bytes'] / 1e9:.2f} GB")
        )  # fmt: skip
    columns = ("trials", "cells", "driver's CPU per trial", "per report", "reports per second", "driver's memory")
    command = (
        f"python benchmarks/driver_load.py --packs {' '.join(map(str, packs))} --cells {cells} --reports {few} {many}"
    )
    notes = "CPU per trial includes the driver's start-up, divided among the trials."
    return Section("The driver's load", command, columns, rows, data, notes)


def main() -> int:
    """Print the table; with --child, the measurement of one run as JSON."""
    if sys.argv[1:2] == ["--child"]:
        print(json.dumps(sweep_once(*map(int, sys.argv[2:]))))
        return 0
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--packs", type=int, nargs="+", default=[250, 1000])
    parser.add_argument("--cells", type=int, default=100)
    parser.add_argument("--reports", type=int, nargs=2, default=[2, 22], metavar=("FEW", "MANY"))
    options = parser.parse_args()
    print(measure(options.packs, options.cells, tuple(options.reports)).markdown())
    return 0


if __name__ == "__main__":
    sys.exit(main())
