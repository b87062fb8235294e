"""Turn a store of a million rows into scores, a map and a report: seconds, peak memory and size per command.

    python benchmarks/million_rows.py [--cells 10000] [--rounds 3]

The store is synthetic: 10,000 cells of 100 tasks (5 depths, 20 learning rates, 4 values of delta, 25 seeds), in packs
of 100, with random numbers. The table also has the difference of the scores (excess, late effective rank) from those
that plain pandas computes from the raw files.
"""

from __future__ import annotations

import argparse
import itertools
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from harness import LOP_ANALYSIS, Section, median, run, spread

from lop_sweep.config import PACKABLE, CellConfig
from lop_sweep.metrics import LAYERED, measured_with
from lop_sweep.pack import make_packs
from lop_sweep.planning.packing import Sizing
from lop_sweep.planning.space import SearchSpace
from lop_sweep.runtime import describe_numerics
from lop_sweep.storage import describe_space
from lop_sweep.storage.schema import PackResult
from lop_sweep.storage.store import Store

TASKS, PACK = 100, 100


def make_store(root: Path, cells: int) -> None:
    """Write a finished sweep of `cells` cells, with random numbers."""
    seeds = cells // 400
    axes = itertools.product((1, 2, 3, 5, 8), [0.05 * 1.2**i for i in range(20)], (0.0, 1.0, 2.0, 3.0), range(seeds))
    configs = [CellConfig(depth=depth, lr=lr, delta=delta, seed=seed, tasks=TASKS) for depth, lr, delta, seed in axes]
    store, rng = Store(root), np.random.default_rng(0)
    store.create()
    store.write_sweep(
        {"dtype": "float64", "created": "today", **describe_space(SearchSpace(cells=configs, name="many"))}
    )
    numerics = {"engine": "drawn", "dtype": "float64", "device": "none", **describe_numerics()}
    for pack in Sizing(cells=PACK).split(make_packs(configs, PACKABLE), lambda cell: 1.0):
        shape = (TASKS, len(pack.cells))
        layered = (*shape, pack.cells[0].depth)
        plain = [name for name in measured_with() if name not in LAYERED and name != "saturation"]
        history = {name: rng.lognormal(-1.0, 1.0, shape) for name in plain}
        history |= {"saturation": rng.random(shape), "effective_rank": rng.uniform(1, 90, layered)}
        history |= {"duplicate_fraction": rng.random(layered)}
        ids = len(pack.cells)
        fresh, never = rng.lognormal(-2.0, 0.5, (ids, 20)), np.zeros(ids, int)
        store.commit(PackResult(pack.id, pack.cells, history, fresh, never, np.ones(ids), numerics))


def check(root: Path, scores: Path) -> float:
    """Return the largest relative difference of the scores from those of plain pandas on the raw files."""
    tasks = pd.read_parquet(root / "tasks", columns=["cell", "task", "end_ce", "effective_rank"])
    fresh = pd.read_parquet(root / "cells", columns=["cell", "fresh_mean_ce"]).set_index("cell")["fresh_mean_ce"]
    late = tasks[tasks["task"] > TASKS - TASKS // 4]
    rank = late["effective_rank"].map(np.mean).groupby(late["cell"]).mean()
    expected = pd.DataFrame({"excess": late.groupby("cell")["end_ce"].mean() - fresh, "late_effective_rank": rank})
    ours = pd.read_parquet(scores).set_index("cell")[list(expected)].loc[expected.index]
    assert ours.notna().all(axis=None)
    return float((ours / expected - 1).abs().max().max())


def measure(cells: int, rounds: int) -> Section:
    """Time the three commands and return the table."""
    with tempfile.TemporaryDirectory() as folder:
        root, scores = Path(folder) / "sweep", Path(folder) / "scores.parquet"
        make_store(root, cells)
        command = [*LOP_ANALYSIS, "map", root, "--x", "lr", "--y", "depth", "--out", Path(folder) / "map.png"]
        maps = [run(*command) for _ in range(rounds)]
        tables = [run(*LOP_ANALYSIS, "scores", root, "--out", scores) for _ in range(rounds)]
        difference = check(root, scores)
        page = Path(folder) / "report.html"
        reports = [run(*LOP_ANALYSIS, "report", root, "--out", page) for _ in range(rounds)]
        sizes = {
            "map": "",
            "scores": f"{scores.stat().st_size / 1e6:.1f} MB",
            "report": f"{page.stat().st_size / 1e6:.1f} MB",
        }
    rows: list[tuple[str, ...]] = []
    data: dict[str, Any] = {}
    for name, content, runs in (
        ("map", ": scores and a map of 4 panels", maps),
        ("scores", "", tables),
        ("report", "", reports),
    ):
        seconds, peak = [r.seconds for r in runs], median([r.peak_bytes for r in runs])
        quality = f"{difference:.0e}" if runs is tables else ""
        memory = f"{peak / 1e9:.2f} GB"
        rows.append(
            (f"`lop-analysis {name}`{content}", f"{cells * TASKS:,}", spread(seconds), memory, sizes[name], quality)
        )
        data[name] = {"seconds": seconds, "peak_bytes": peak, "size": sizes[name]}
    data["relative_difference"] = difference
    columns = ("command", "rows", "seconds", "peak memory", "file", "scores differ from plain pandas by")
    itself = f"python benchmarks/million_rows.py --cells {cells} --rounds {rounds}"
    return Section("A million rows to scores, a map and a report", itself, columns, rows, data)


def main() -> int:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cells", type=int, default=10_000)
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    print(measure(options.cells, options.rounds).markdown())
    return 0


if __name__ == "__main__":
    sys.exit(main())
