"""How many cells a boundary takes if they are chosen one by one, against a dense grid and a Sobol design.

    python benchmarks/refinement.py [--repeats 100] [--truths sharp bent] [--cells 960] [--jobs 2] [--out errors.jsonl]

Maps are simulated on a grid of points with 8 seeds, each a cell of one outcome. Every seed is shifted against the
others by N(0, 0.3) probits at all points. The error is the share of points on the wrong side of P(lost) = 1/2, where P
is the mean rate over all seeds that could be. The boundary lies anywhere between the points, by repeat.

    counts    the dense grid, all points with 8 seeds: lost where more than half of the seeds are; ties count as half
    surface   the same cells, by the surface that `LevelSet.rates` fits
    refined   cells chosen by `analysis.refinement.LevelSet` one after the other, by the same surface
    Sobol     cells of a scrambled Sobol sequence over the axes and the seed, by the same surface

"Cells until" is the first number of cells, of those at which errors are measured, at which the mean error over repeats
is at most that of the dense grid, or of a Sobol design of some size. Where nothing or everything is lost there is no
boundary, and the error is the share of points at which one is made up.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path

import numpy as np
from scipy.special import ndtr, ndtri
from scipy.stats import qmc

from analysis.refinement import Candidates, LevelSet

SEEDS = 8
SHIFT = 0.3
"""Standard deviation of the seeds' shifts, in probits."""
_MANY = 10_000


def steps(cells: int) -> list[int]:
    """Return the numbers of cells at which errors are measured: multiples of 10, of 20 from 100, of 100 from 200."""
    every = [*range(10, 100, 10), *range(100, 200, 20), *range(200, cells + 1, 100)]
    return [number for number in every if number <= cells]


@dataclass(frozen=True)
class Truth:
    """A simulated map over the unit cube.

    Attributes:
        sizes: values per axis.
        probits: of P(lost) at points, (K, d), with the boundary moved by an offset along the first axis.
        cells: how many the refinement may choose.
        sobol: cells of the Sobol design.
    """

    sizes: tuple[int, ...]
    probits: Callable[[np.ndarray, float], np.ndarray]
    cells: int = 200
    sobol: int = 800


def sharp(x: np.ndarray, offset: float) -> np.ndarray:
    """Return probits that rise along an inclined line; rates pass from 2% to 98% within two points."""
    return (x[:, 0] + 0.35 * x[:, 1] - 0.7 - offset) / 0.02


def gradual(x: np.ndarray, offset: float) -> np.ndarray:
    """Return the same as `sharp`, with rates that pass from 2% to 98% within half of the first axis."""
    return (x[:, 0] + 0.4 * x[:, 1] - 0.75 - offset) / 0.15


def bent(x: np.ndarray, offset: float) -> np.ndarray:
    """Return probits that rise across a line with a kink."""
    return (x[:, 0] - 0.3 - offset - 0.45 * np.maximum(0, x[:, 1] - 0.4)) / 0.06


def island(x: np.ndarray, offset: float) -> np.ndarray:
    """Return probits that are positive in an ellipse, away from the middle, that has a tenth of the points."""
    return (0.15 - np.hypot(x[:, 0] - 0.68 - offset, 0.6 * (x[:, 1] - 0.35))) / 0.04


def solid(x: np.ndarray, offset: float) -> np.ndarray:
    """Return probits that rise across a surface with a kink along the second axis and a slope along the third."""
    return (x[:, 0] - 0.25 - offset - 0.5 * np.maximum(0, x[:, 1] - 0.3) - 0.2 * x[:, 2]) / 0.1


def hypersolid(x: np.ndarray, offset: float) -> np.ndarray:
    """Return the same as `solid`, with a slope along the fourth axis."""
    return solid(x, offset) + 1.5 * (x[:, 3] - 0.5)


TRUTHS = {
    "sharp": Truth((24, 10), sharp),
    "gradual": Truth((24, 10), gradual),
    "bent": Truth((24, 10), bent),
    "island": Truth((24, 10), island),
    "nothing lost": Truth((24, 10), lambda x, _: np.full(len(x), ndtri(0.02)), 100, 100),
    "all lost": Truth((24, 10), lambda x, _: np.full(len(x), ndtri(0.95)), 100, 100),
    "3-D": Truth((12, 6, 5), solid, 400),
    "4-D": Truth((8, 5, 4, 4), hypersolid, 400),
}


@dataclass(frozen=True)
class Errors:
    """The errors of one repeat; the curves at the numbers of cells of `steps`."""

    counts: float
    surface: float
    refined: list[float]
    sobol: list[float]
    seconds: float


class Simulation:
    """One repeat: the candidates, an outcome for each, and the true side of each point."""

    def __init__(self, truth: Truth, repeat: int) -> None:
        rng = np.random.default_rng(repeat)
        axes = [np.linspace(0, 1, size) for size in truth.sizes]
        points = np.stack(np.meshgrid(*axes, indexing="ij"), axis=-1).reshape(-1, len(axes))
        offset = rng.uniform(-0.5, 0.5) / (truth.sizes[0] - 1)
        shifts = SHIFT * rng.standard_normal(SEEDS)
        probits = truth.probits(points, offset)
        rates = ndtr(probits[:, None] * np.hypot(1, SHIFT) + shifts)
        self.lost = (rng.random(rates.shape) < rates).astype(float)
        cells = len(points) * SEEDS
        self.candidates = Candidates(
            np.repeat(points, SEEDS, axis=0),
            ("linear",) * len(axes),
            np.tile(np.arange(SEEDS), len(points)),
            np.ones(cells),
            np.zeros(cells, int),
        )
        self._points, self._side = points, probits > 0
        self._side_at_places = truth.probits(self.candidates.places, offset) > 0

    def by_counts(self) -> float:
        """Return the error of the dense grid's counts."""
        share = self.lost.mean(axis=1)
        return float(np.where(share == 0.5, 0.5, (share > 0.5) != self._side).mean())

    def by_surface(self, cells: Iterable[int]) -> float:
        """Return the error after cells have been told."""
        chooser = LevelSet(self.candidates)
        for cell in cells:
            self.tell(chooser, cell)
        return self.error(chooser)

    def tell(self, chooser: LevelSet, cell: int) -> None:
        """Tell a cell's outcome."""
        chooser.tell(cell, float(self.lost.flat[cell]), 1.0)

    def error(self, chooser: LevelSet) -> float:
        """Return the share of points on the wrong side."""
        return float(((chooser.rates() > 0.5) != self._side_at_places).mean())

    def refined(self, cells: int) -> list[float]:
        """Return the errors of chosen cells."""
        chooser, errors, measured = LevelSet(self.candidates), [], {*steps(cells)}
        for number in range(1, cells + 1):
            (cell,) = chooser.ask()
            self.tell(chooser, cell)
            if number in measured:
                errors.append(self.error(chooser))
        return errors

    def sobol(self, cells: Sequence[int]) -> list[float]:
        """Return the errors of given cells."""
        chooser, errors, measured = LevelSet(self.candidates), [], {*steps(len(cells))}
        for number, cell in enumerate(cells, start=1):
            self.tell(chooser, cell)
            if number in measured:
                errors.append(self.error(chooser))
        return errors


def sobol_cells(truth: Truth, repeat: int) -> list[int]:
    """Return numbers of cells in the order of a Sobol sequence over the axes and the seed, each once."""
    shape = *truth.sizes, SEEDS
    sequence = qmc.Sobol(len(shape), rng=np.random.default_rng([repeat, 1])).random_base2(13)
    numbers = np.ravel_multi_index(tuple((sequence * shape).astype(int).T), shape)
    return [int(number) for number in dict.fromkeys(numbers)][: truth.sobol]


def measure(job: tuple[str, int], cells: int | None = None) -> Errors:
    """Return the errors of one repeat of a truth, with as many cells chosen as it says, or as many as given."""
    name, repeat = job
    truth, start = TRUTHS[name], time.process_time()
    simulation = Simulation(truth, repeat)
    return Errors(
        simulation.by_counts(),
        simulation.by_surface(range(simulation.lost.size)),
        simulation.refined(cells or truth.cells),
        simulation.sobol(sobol_cells(truth, repeat)),
        time.process_time() - start,
    )


def until(curve: np.ndarray, error: float) -> int | None:
    """Return the first number of cells at which a curve of errors is at most a given one; None if it never is."""
    reached = np.flatnonzero(curve <= error)
    return steps(_MANY)[int(reached[0])] if len(reached) else None


def at(curve: np.ndarray, cells: int) -> float:
    """Return the error after a number of cells."""
    return float(curve[steps(_MANY).index(cells)])


def means_row(name: str, errors: Sequence[Errors]) -> list[str]:
    """Return a line of the first table: cells until the mean error over repeats is that of the dense grid."""
    refined, sobol = (np.mean([getattr(one, curve) for one in errors], axis=0) for curve in ("refined", "sobol"))
    dense = int(np.prod(TRUTHS[name].sizes)) * SEEDS
    row = [name, str(len(errors)), f"{dense:,}"]
    for method in ("counts", "surface"):
        error = float(np.mean([getattr(one, method) for one in errors]))
        chosen, spread = until(refined, error), until(sobol, error)
        row += [f"{error:.4f}", _cells(chosen, refined), _cells(spread, sobol), _ratio(dense, chosen)]
    return row + [_error(curve, cells) for cells in (100, 200) for curve in (refined, sobol)]


def medians_row(name: str, errors: Sequence[Errors]) -> list[str]:
    """Return a line of the second table: the median over repeats of the cells until each one's own error."""
    row = [name]
    for method in ("counts", "surface"):
        for curve in ("refined", "sobol"):
            own = [until(np.array(getattr(one, curve)), getattr(one, method)) for one in errors]
            longest = np.array(getattr(errors[0], curve))
            middle = float(np.median([np.inf if cells is None else cells for cells in own]))
            row.append(_cells(round(middle) if np.isfinite(middle) else None, longest))
    return [*row, f"{np.mean([one.seconds for one in errors]):.1f}"]


def spread_row(name: str, errors: Sequence[Errors]) -> list[str]:
    """Return a line of the third table: cells until the mean error is that of so many cells of the Sobol design."""
    refined, sobol = (np.mean([getattr(one, curve) for one in errors], axis=0) for curve in ("refined", "sobol"))
    there = [cells for cells in SPREAD if len(sobol) >= len(steps(cells))]
    return [name, *(_cells(until(refined, at(sobol, cells)), refined) for cells in there)]


def _cells(number: int | None, curve: np.ndarray) -> str:
    return f"over {steps(_MANY)[len(curve) - 1]}" if number is None else str(number)


def _error(curve: np.ndarray, cells: int) -> str:
    return f"{at(curve, cells):.4f}" if len(curve) >= len(steps(cells)) else ""


def _ratio(dense: int, cells: int | None) -> str:
    return "" if cells is None else f"{dense / cells:.1f}"


def load(path: Path | None) -> dict[tuple[str, int], Errors]:
    """Return the errors that an earlier run wrote, by truth and repeat."""
    if path is None or not path.exists():
        return {}
    rows = [json.loads(line) for line in path.read_text().splitlines()]
    if any(len(row["sobol"]) != len(steps(TRUTHS[row["truth"]].sobol)) for row in rows):
        raise SystemExit(f"{path} was written by another version, which measured at other numbers of cells; delete it")
    return {(row.pop("truth"), row.pop("repeat")): Errors(**row) for row in rows}


def simulate(
    jobs: Sequence[tuple[str, int]], cells: int | None, processes: int, out: Path | None
) -> dict[tuple[str, int], Errors]:
    """Return the errors of repeats of truths; those in the file are not computed again, and others are added to it."""
    found = load(out)
    missing = [job for job in jobs if job not in found]
    with multiprocessing.get_context("spawn").Pool(processes) as pool:
        for job, errors in zip(missing, pool.imap(partial(measure, cells=cells), missing), strict=True):
            found[job] = errors
            if out is not None:
                with out.open("a") as file:
                    file.write(json.dumps({"truth": job[0], "repeat": job[1], **asdict(errors)}) + "\n")
    return {job: found[job] for job in jobs}


MEANS = (
    "truth", "repeats", "dense cells",
    "error of counts", "refined until", "Sobol until", "dense / refined",
    "error of surface", "refined until", "Sobol until", "dense / refined",
    "refined at 100", "Sobol at 100", "refined at 200", "Sobol at 200",
)  # fmt: skip
MEDIANS = (
    "truth",
    "counts: refined", "Sobol", "surface: refined", "Sobol", "core-seconds per repeat",
)  # fmt: skip
SPREAD = (50, 100, 200, 400, 800)
"""Cells of a Sobol design whose error is to be reached."""
AS_SOBOL = ("refined until the error of Sobol with", *map(str, SPREAD))


def main() -> None:
    """Print three tables."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--repeats", type=int, default=100, metavar="N", help="simulations per truth (default 100)")
    parser.add_argument("--truths", nargs="+", default=list(TRUTHS), choices=TRUTHS, metavar="TRUTH", help="which maps")
    parser.add_argument(
        "--cells",
        type=int,
        metavar="N",
        help="cells to choose (default 200; 400 with more axes, 100 without a boundary)",
    )
    parser.add_argument("--jobs", type=int, default=1, metavar="N", help="processes (default 1)")
    parser.add_argument("--out", type=Path, metavar="FILE", help="JSON lines to write to, and to continue from")
    options = parser.parse_args()
    jobs = [(name, repeat) for repeat in range(options.repeats) for name in options.truths]
    found = simulate(jobs, options.cells, options.jobs, options.out)
    for heading, line in ((MEANS, means_row), (MEDIANS, medians_row), (AS_SOBOL, spread_row)):
        print(f"| {' | '.join(heading)} |\n|{'---|' * len(heading)}")
        for name in options.truths:
            row = line(name, [errors for (truth, _), errors in found.items() if truth == name])
            print(f"| {' | '.join(row)} |")
        print()


if __name__ == "__main__":
    main()
