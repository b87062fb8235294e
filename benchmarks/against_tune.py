"""Compare a sweep with the obvious alternative (`benchmarks/alternative.py`), on the same cells and cores.

    python benchmarks/against_tune.py [--cells 8] [--rounds 1] [--tasks 100]

Times both commands from process start to results on the disk, alternating. The table also has the mean final
cross-entropy of the last quarter of the tasks, over all cells. The default cells are chaotic: single ones differ, but
their mean hardly does.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from pathlib import Path

import pandas as pd
from harness import HERE, LOP_SWEEP, Section, files_and_bytes, median, run, spread, write_space


def compare(cells: int, rounds: int, tasks: int, lr: float = 0.6) -> Section:
    """Run both commands and return the table."""
    times: dict[str, list[float]] = {"lop-sweep": [], "alternative": []}
    late: dict[str, float] = {}
    stored: dict[str, tuple[int, int]] = {}
    for number in range(rounds):
        with tempfile.TemporaryDirectory() as folder:
            space = write_space(Path(folder) / "cells.py", {"seed": list(range(cells)), "tasks": tasks, "lr": lr})
            ours, theirs = Path(folder) / "ours", Path(folder) / "theirs"
            commands = {
                "lop-sweep": (*LOP_SWEEP, "sweep", space, "--out", ours, "--no-progress"),
                "alternative": (
                    sys.executable, HERE / "alternative.py", "--cells", cells, "--tasks", tasks, "--lr", lr,
                    "--out", theirs,
                ),
            }  # fmt: skip
            for name in list(commands)[:: -1 if number % 2 else 1]:
                done = run(*commands[name])
                times[name].append(done.seconds)
                if name == "alternative":
                    late[name] = json.loads(done.output.splitlines()[-1])["late_final_ce"]
            frame = pd.read_parquet(ours / "tasks", columns=["task", "final_ce"])
            assert len(frame) == cells * tasks
            late["lop-sweep"] = float(frame.loc[frame["task"] > tasks - tasks // 4, "final_ce"].mean())
            stored = {"lop-sweep": files_and_bytes(ours), "alternative": files_and_bytes(theirs)}
    ratios = [theirs / ours for ours, theirs in zip(times["lop-sweep"], times["alternative"], strict=True)]
    rows = [
        (
            name, str(cells), spread(times[name], 1), spread(ratios) if name == "lop-sweep" else "1",
            f"{cells / median(times[name]):.3f}", f"{late[name]:.5g}", f"{stored[name][0]:,}",
            f"{stored[name][1] / 1e6:.1f} MB",
        )
        for name in times
    ]  # fmt: skip
    columns = (
        "", "cells", "seconds", "alternative / this", "cells per second", "late final CE", "files", "on the disk"
    )  # fmt: skip
    command = f"python benchmarks/against_tune.py --cells {cells} --rounds {rounds} --tasks {tasks}"
    data = {"cells": cells, "tasks": tasks, "seconds": times, "ratios": ratios, "late_final_ce": late, "stored": stored}
    return Section("A sweep against the obvious alternative, all cores", command, columns, rows, data)


def main() -> int:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cells", type=int, default=8)
    parser.add_argument("--rounds", type=int, default=1)
    parser.add_argument("--tasks", type=int, default=100)
    parser.add_argument("--lr", type=float, default=0.6)
    options = parser.parse_args()
    print(compare(options.cells, options.rounds, options.tasks, options.lr).markdown())
    return 0


if __name__ == "__main__":
    sys.exit(main())
