"""How much of a dense sweep a refinement would have needed, replayed on the sweep's own results.

    python benchmarks/refinement_replay.py SWEEP [--where depth=3,5,8] [--target lost] [--share 0.2]

SWEEP is a sweep directory, or a file of scores that the gallery publishes, such as
`docs/gallery/depth_lr_delta.parquet`.

A cell's numbers depend on its configuration alone, so a refinement of the same space would have got the same rows for
the cells that it asks for. Verdicts are made of these cells alone, as `lop-sweep refine` makes them. Reported, every
tenth of the way: cells, the core-seconds that they took, the width of the band (the share of points whose side of the
boundary is not known with 95%), and how far the boundary is from that of the whole sweep, as a factor in --along.
"""

from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from analysis import load_cells, select
from analysis.data import blocks_of, parse_where
from analysis.refinement import TARGETS, FinishedCells, LevelSet, make_candidates
from lop_sweep.config import FIELDS, CellConfig
from lop_sweep.planning import Sizing


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
        self._groups = {}

    def _add_published(self) -> None:
        """Keep the published losses, which are those of the late tasks: a verdict needs no others."""
        for row in self.cells.to_dict("records"):
            loss = np.zeros(row["tasks"])
            loss[-len(row["late_losses"]) :] = row["late_losses"]
            self._keep(dict(make_cell(row)) | row, loss, np.full(len(loss), np.nan))

    def everything(self) -> Mapping[str, tuple[float, float]]:
        """Return the outcomes of all cells, judged together."""
        self._groups = {}
        for cell, (configuration, row) in self._rows.items():
            self._groups.setdefault(configuration, {})[cell] = row
        outcomes, self._groups = self._judge(self._groups), {}
        return outcomes

    def take(self, cell: str) -> Mapping[str, tuple[float, float]]:
        """Return the outcomes that a finished cell adds or changes."""
        configuration, row = self._rows[cell]
        self._groups.setdefault(configuration, {})[cell] = row
        return self._judge([configuration])


def make_cell(row: Mapping[str, Any]) -> CellConfig:
    """Return the cell of a row; fields that it lacks have their defaults."""
    return CellConfig(**{name: row[name] for name in FIELDS if name in row})


def crossings(chooser: LevelSet, points: np.ndarray, along: np.ndarray) -> pd.Series:
    """Return where the rate passes 1/2 first along an axis, for each line of points; NaN where it does not."""
    frame = pd.DataFrame(points).assign(along=along, rate=chooser.rates())
    others = list(range(points.shape[1]))

    def first(line: pd.DataFrame) -> float:
        line = line.dropna().sort_values("along")
        rate, at = line["rate"].to_numpy(), line["along"].to_numpy()
        up = np.flatnonzero((rate[:-1] < 0.5) & (rate[1:] >= 0.5))
        if not len(up):
            return np.nan
        i = up[0]
        return float(at[i] + (0.5 - rate[i]) / (rate[i + 1] - rate[i]) * (at[i + 1] - at[i]))

    return frame.groupby(others).apply(first) if others else pd.Series([first(frame)])


def main() -> None:
    """Replay a refinement of a finished sweep."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("sweep", type=Path)
    parser.add_argument("--where", action="append", default=[])
    parser.add_argument("--target", default="lost", choices=TARGETS)
    parser.add_argument("--along", default="lr")
    parser.add_argument("--share", type=float, default=0.25, help="of the cells, at most")
    arguments = parser.parse_args()
    replay = Replay(arguments.sweep, arguments.target)
    frame = select(replay.cells, parse_where(arguments.where))
    cells = [make_cell(row) for row in frame.to_dict("records")]
    sizing = Sizing()
    axes, candidates = make_candidates(cells, [sizing.seconds_left(cell, 0, 0) for cell in cells])
    seconds = frame["seconds"].to_numpy()
    number = {cell.id: index for index, cell in enumerate(cells)}

    def tell(chooser: LevelSet, outcomes: Mapping[str, Sequence[float]]) -> None:
        for cell, outcome in outcomes.items():
            if cell in number:
                chooser.tell(number[cell], *outcome)

    dense = LevelSet(candidates)
    tell(dense, replay.everything())
    width = dense.unsure()
    axis = axes.index(arguments.along)
    log = candidates.scales[axis] == "log"
    places = candidates.places
    along = np.interp(places[:, axis], [0, 1], [candidates.scaling.low[axis], candidates.scaling.high[axis]])
    rest = np.delete(places, axis, axis=1)
    expected = crossings(dense, rest, along)
    print(f"{len(cells):,} cells of {', '.join(axes)}: {seconds.sum():,.0f} core-seconds, width {width:.3f}")
    print("cells  core-s  share   width  factor: median  largest  lines")
    chooser, chosen = LevelSet(candidates), []
    most = int(arguments.share * len(cells))
    reached = None
    while len(chosen) < most:
        for index in chooser.ask(most=max(len(chosen) // 10, 1), seconds=2.0):
            chosen.append(index)
            tell(chooser, replay.take(cells[index].id))
        spent = seconds[chosen].sum()
        if len(chosen) * 10 // most > (len(chosen) - 1) * 10 // most or len(chosen) >= most:
            now = chooser.unsure()
            if now <= width and reached is None:
                reached = len(chosen), spent
            gap = np.abs(crossings(chooser, rest, along) - expected).dropna()
            shift = np.exp(gap) if log else gap
            print(
                f"{len(chosen):5}  {spent:6.0f}  {spent / seconds.sum():5.3f}  {now:6.3f}  {shift.median():14.3f}"
                f"  {shift.max():7.3f}  {len(gap)} of {expected.notna().sum()}",
                flush=True,
            )
    if reached:
        print(f"as narrow as the whole sweep after {reached[0]} cells, {reached[1] / seconds.sum():.3f} of its time")


if __name__ == "__main__":
    main()
