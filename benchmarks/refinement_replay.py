"""How much of a dense sweep a refinement would have needed, replayed on the sweep's own results.

    python benchmarks/refinement_replay.py SWEEP [--where depth=3,5,8] [--target lost] [--share 0.3] [--repeats 10]

SWEEP is a sweep directory, or a file of scores that the gallery publishes, such as
`docs/gallery/depth_lr_delta.parquet`.

A cell's numbers depend on its configuration alone, so a refinement of the same space would have got the same rows for
the cells that it asks for. Verdicts are made of these cells alone, as `lop-sweep refine` makes them. Each repeat
numbers the seeds in another order, so that other cells are chosen.

The width of the band is the share of points whose side of the boundary is not known with 95%. The distance from the
boundary of the whole sweep is a factor in --along, over those lines along it on which both boundaries are passed; lines
on which only that of the whole sweep is passed are counted as not found. Reported by the share of the sweep's
core-seconds that the chosen cells took.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from analysis import load_cells, select
from analysis.data import blocks_of, parse_where
from analysis.refinement import TARGETS, Candidates, FinishedCells, LevelSet, make_candidates
from lop_sweep.config import FIELDS, CellConfig
from lop_sweep.planning import Sizing
from lop_sweep.planning.choosing import MAX_SHARE, MIN_SECONDS

STEP = 0.05
"""Share of the core-seconds between two measurements."""


class Replay(FinishedCells):
    """The finished cells of a sweep, taken in one at a time.

    Attributes:
        cells: one row per cell.
    """

    def __init__(self, path: Path, target: str) -> None:
        super().__init__(path, target)
        self.cells = load_cells(path) if path.is_dir() else pd.read_parquet(path)
        if path.is_dir():
            for block in blocks_of(self.cells, path, ["end_ce", "final_ce"]):
                self._add(block)
        else:
            self._add_published()
        self._rows = {cell: (group, row) for group, rows in self._groups.items() for cell, row in rows.items()}
        self.forget()

    def _add_published(self) -> None:
        """Keep the published losses, which are those of the late tasks: a verdict needs no others."""
        for row in self.cells.to_dict("records"):
            loss = np.zeros(row["tasks"])
            loss[-len(row["late_losses"]) :] = row["late_losses"]
            self._keep(dict(make_cell(row)) | row, loss, np.full(len(loss), np.nan))

    def everything(self) -> Mapping[str, tuple[float, float]]:
        """Return the outcomes of all cells, judged together."""
        for cell, (configuration, row) in self._rows.items():
            self._groups.setdefault(configuration, {})[cell] = row
        return self._judge(self._groups)

    def forget(self) -> None:
        """Begin anew with no cell."""
        self._groups = {}

    def take(self, cell: str) -> Mapping[str, tuple[float, float]]:
        """Return the outcomes that a finished cell adds or changes."""
        configuration, row = self._rows[cell]
        self._groups.setdefault(configuration, {})[cell] = row
        return self._judge([configuration])


def make_cell(row: Mapping[str, Any]) -> CellConfig:
    """Return the cell of a row; fields that it lacks have their defaults."""
    return CellConfig(**{name: row[name] for name in FIELDS if name in row})


@dataclass(frozen=True)
class Sweep:
    """A finished sweep to choose from.

    Attributes:
        replay: its outcomes.
        cells: its cells.
        candidates: the same as points.
        seconds: (N,) that they took.
        axis: number of the axis that distances are measured along.
    """

    replay: Replay
    cells: Sequence[CellConfig]
    candidates: Candidates
    seconds: np.ndarray
    axis: int

    @cached_property
    def number(self) -> dict[str, int]:
        """The place of each cell."""
        return {cell.id: index for index, cell in enumerate(self.cells)}

    def tell(self, chooser: LevelSet, outcomes: Mapping[str, Sequence[float]]) -> None:
        """Tell the outcomes of those cells that can be chosen."""
        for cell, outcome in outcomes.items():
            if cell in self.number:
                chooser.tell(self.number[cell], *outcome)

    def dense(self) -> LevelSet:
        """Return a chooser that knows all cells."""
        chooser = LevelSet(self.candidates)
        self.tell(chooser, self.replay.everything())
        return chooser

    def crossings(self, chooser: LevelSet) -> pd.Series:
        """Return the coordinate at which the rate passes 1/2 first along the axis, on each line; NaN where it does not.

        On a logarithmic axis it is the logarithm of a value.
        """
        places, scaling = self.candidates.places, self.candidates.scaling
        ends = scaling.low[self.axis], scaling.high[self.axis]
        frame = pd.DataFrame(np.delete(places, self.axis, axis=1))
        others = list(frame.columns)
        frame = frame.assign(along=np.interp(places[:, self.axis], [0, 1], ends), rate=chooser.rates())
        return frame.groupby(others).apply(_first) if others else pd.Series([_first(frame)])


def _first(line: pd.DataFrame) -> float:
    line = line.dropna().sort_values("along")
    rate, at = line["rate"].to_numpy(), line["along"].to_numpy()
    up = np.flatnonzero((rate[:-1] < 0.5) & (rate[1:] >= 0.5))
    if not len(up):
        return np.nan
    i = up[0]
    return float(at[i] + (0.5 - rate[i]) / (rate[i + 1] - rate[i]) * (at[i + 1] - at[i]))


def refine(sweep: Sweep, repeat: int, share: float, expected: pd.Series) -> Iterator[dict[str, float]]:
    """Choose cells until they have taken a share of the time; yield what is known at every twentieth of it.

    Args:
        sweep: to choose from.
        repeat: 0 for the seeds as they are; else the number of their order.
        share: of the core-seconds, at most.
        expected: the crossings of the whole sweep.
    """
    sweep.replay.forget()
    seeds = np.arange(sweep.candidates.seed_count)
    order = np.random.default_rng(repeat).permutation(seeds) if repeat else seeds
    chooser, chosen = LevelSet(replace(sweep.candidates, seeds=order[sweep.candidates.seeds])), []
    spent = 0.0
    for due in np.arange(STEP, share + STEP / 2, STEP):
        while spent < due and (pack := chooser.ask(most=max(len(chosen) // MAX_SHARE, 1), seconds=MIN_SECONDS)):
            for index in pack:
                chosen.append(index)
                sweep.tell(chooser, sweep.replay.take(sweep.cells[index].id))
            spent = sweep.seconds[chosen].sum() / sweep.seconds.sum()
        gap = np.abs(sweep.crossings(chooser) - expected)[expected.notna()]
        factor = np.exp(gap) if sweep.candidates.scales[sweep.axis] == "log" else gap
        yield {
            "share": round(due, 2), "cells": len(chosen), "width": chooser.unsure(),
            "median": factor.median(), "largest": factor.max(), "not found": factor.isna().sum(),
        }  # fmt: skip


def main() -> None:
    """Replay refinements of a finished sweep."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("sweep", type=Path)
    parser.add_argument("--where", action="append", default=[])
    parser.add_argument("--target", default="lost", choices=TARGETS)
    parser.add_argument("--along", default="lr")
    parser.add_argument("--share", type=float, default=0.3, help="of the core-seconds, at most")
    parser.add_argument("--repeats", type=int, default=1)
    arguments = parser.parse_args()
    replay = Replay(arguments.sweep, arguments.target)
    frame = select(replay.cells, parse_where(arguments.where))
    cells = [make_cell(row) for row in frame.to_dict("records")]
    sizing = Sizing()
    axes, candidates = make_candidates(cells, [sizing.seconds_left(cell, 0, 0) for cell in cells])
    sweep = Sweep(replay, cells, candidates, frame["seconds"].to_numpy(), axes.index(arguments.along))
    dense = sweep.dense()
    width, expected = dense.unsure(), sweep.crossings(dense)
    print(
        f"{len(cells):,} cells of {', '.join(axes)}: {sweep.seconds.sum():,.0f} core-seconds, width {width:.3f},"
        f" {expected.notna().sum()} of {len(expected)} lines",
        flush=True,
    )
    every = []
    for repeat in range(arguments.repeats):
        every.append(pd.DataFrame(refine(sweep, repeat, arguments.share, expected)))
        print(every[-1].round(3).to_string(index=False), "\n", flush=True)
    means = pd.concat(every).groupby("share", as_index=False).mean()
    print("means of", arguments.repeats, "\n" + means.round(3).to_string(index=False))


if __name__ == "__main__":
    main()
