"""How often a boundary's band contains the true boundary, and how often extra lines are drawn.

    python benchmarks/boundary_coverage.py [--repeats 100] [--seeds 8 16] [--truths step bent] [--level 0.25]
                                           [--tasks 25 --correlation 0.2] [--axes 1]

Cells are simulated on 11 learning rates and 5 depths, with `--axes 1` at one depth. Every seed has its own edge,
shifted against that of the others at all points. The true boundary is where half of all seeds (or another share, the
level) lose plasticity. It lies anywhere between the points.

With `--tasks 25` a cell has 25 late tasks, and the rate is that of tasks that fail, over all seeds. `--correlation` is
that between the tasks of a cell, beyond its point and seed: their failures are beta-binomial.

    surface   `analysis.surface`: the 95% band, and the line where the posterior median passes the level
    Wilson    `analysis.plot.boundary`: the region between the contours of pointwise 95% intervals, and all contours;
              tasks count as independent
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from scipy.interpolate import RegularGridInterpolator
from scipy.special import ndtr, ndtri

from analysis.plot.axes import Axis, Grid, edges
from analysis.plot.boundary import boundary
from analysis.scoring import wilson
from analysis.surface import boundary_band, fit_surface

STEPS = (10, 4)
"""Steps between the learning rates and between the depths."""
FINE = 6
"""Grid points per step of an axis."""
RATES = np.geomspace(0.01, 10.0, STEPS[0] + 1)
DEPTHS = np.linspace(2.0, 10.0, STEPS[1] + 1)

Distance = Callable[[np.ndarray, np.ndarray], np.ndarray]
"""Signed distance to the boundary along log lr, positive where most seeds lose, at x and y in the unit square."""


@dataclass(frozen=True)
class Truth:
    """A simulated map.

    Attributes:
        distance: to the boundary, with its offset as the third argument.
        width: of the transition for one seed, in units of the axis; 0 for a step.
        shift: standard deviation of the seeds' edges, in the same units.
        own: the same for each seed and depth separately, which the model does not know.
        plateau: the rate far inside.
    """

    distance: Callable[[np.ndarray, np.ndarray, float], np.ndarray]
    width: float
    shift: float = 0.04
    own: float = 0.0
    plateau: float = 1.0

    def rates(self, x: np.ndarray, y: np.ndarray, offset: float, shifts: np.ndarray) -> np.ndarray:
        """Return the probability of a loss at each point (last axis: seeds)."""
        from_edge = self.distance(x, y, offset)[..., None] - shifts
        if self.width == 0:
            return (from_edge > 0) * self.plateau
        return np.asarray(self.plateau * ndtr(from_edge / self.width + self.half()))

    def half(self) -> float:
        """Return the probit, without the plateau, at which half of all seeds lose plasticity."""
        return float(ndtri(0.5 / self.plateau)) * np.hypot(1, self.shift / self.width)

    def from_half(self, level: float) -> float:
        """Return the distance from the boundary at 1/2 to that at another level of P(lost), over all seeds."""
        if self.width == 0:
            return self.shift * float(ndtri(level))
        spread = np.hypot(self.width, np.hypot(self.shift, self.own))
        return float(spread * ndtri(level / self.plateau) - self.width * self.half())


def straight(x: np.ndarray, y: np.ndarray, offset: float) -> np.ndarray:
    """Return the distance to a slightly inclined line."""
    return x - (0.5 + offset + 0.15 * (y - 0.5))


def bent(x: np.ndarray, y: np.ndarray, offset: float) -> np.ndarray:
    """Return the distance to a line that bends at a depth."""
    return x - (0.35 + offset + 0.35 * np.maximum(0, y - 0.4) / 0.6)


def island(x: np.ndarray, y: np.ndarray, offset: float) -> np.ndarray:
    """Return the distance to the border of an ellipse, 4 by 3 steps in size."""
    return 0.22 - np.hypot(x - 0.5 - offset, 0.7 * (y - 0.5))


TRUTHS = {
    "step, equal seeds": Truth(straight, 0.0, shift=0.0),
    "step": Truth(straight, 0.0),
    "gradual": Truth(straight, 0.12, shift=0.06),
    "gradual, shifts by depth": Truth(straight, 0.12, shift=0.04, own=0.04),
    "bent": Truth(bent, 0.04),
    "plateau of 0.85": Truth(straight, 0.05, plateau=0.85),
    "island": Truth(island, 0.04),
}


@dataclass(frozen=True)
class Design:
    """What is simulated.

    Attributes:
        level: of the rate, at the boundary.
        tasks: late tasks of a cell; 1 for verdicts.
        correlation: between the tasks of a cell.
        axes: 2 for a map, 1 for the middle depth alone.
    """

    level: float = 0.5
    tasks: int = 1
    correlation: float = 0.0
    axes: int = 2

    @property
    def unit(self) -> np.ndarray:
        """(learning rates, depths, 2) the points in the unit square."""
        depths = np.linspace(0, 1, len(DEPTHS)) if self.axes == 2 else np.array([0.5])
        return np.stack(np.meshgrid(np.linspace(0, 1, len(RATES)), depths, indexing="ij"), axis=-1)

    @property
    def points(self) -> np.ndarray:
        """(points, axes) the points in the units of the axes."""
        if self.axes == 1:
            return RATES[:, None]
        return np.stack(np.meshgrid(RATES, DEPTHS, indexing="ij"), axis=-1).reshape(-1, 2)

    @property
    def fine(self) -> list[np.ndarray]:
        """Values along each axis at which a surface is evaluated."""
        rates = RATES[0] * (RATES[-1] / RATES[0]) ** FINE_X
        return [rates, DEPTHS[0] + (DEPTHS[-1] - DEPTHS[0]) * FINE_Y][: self.axes]


@dataclass(frozen=True)
class Outcome:
    """Whether the boundary was covered, numbers of lines, the share of the map in the band, and seconds.

    `lines` and `any_lines` are without those that the true boundary has more than one of.
    """

    covered: bool
    lines: int
    any_lines: int
    width: float
    seconds: float


FINE_X = np.linspace(0, 1, STEPS[0] * FINE + 1)
FINE_Y = np.linspace(0, 1, STEPS[1] * FINE + 1)


def crossings(distance: Distance, axes: int = 2) -> np.ndarray:
    """Return points of the true boundary, (points, 2), on the lines of a grid that is finer still."""
    dense = [np.linspace(0, 1, 4 * STEPS[0] * FINE + 1), np.linspace(0, 1, 4 * STEPS[1] * FINE + 1)]
    if axes == 1:
        dense[1] = np.array([0.5])
    grid = np.stack(np.meshgrid(*dense, indexing="ij"), axis=-1)
    values = distance(grid[..., 0], grid[..., 1])
    found = []
    for axis in (0, 1):
        v, g = np.moveaxis(values, axis, 0), np.moveaxis(grid, axis, 0)
        crossed = (v[1:] > 0) != (v[:-1] > 0)
        part = (v[:-1][crossed] / (v[:-1][crossed] - v[1:][crossed]))[:, None]
        found.append(g[:-1][crossed] + part * (g[1:][crossed] - g[:-1][crossed]))
    return np.concatenate(found)


def with_surface(failures: np.ndarray, true: np.ndarray, design: Design) -> Outcome:
    """Fit a surface to counts, (points, seeds), and compare its band with the true boundary."""
    start = time.perf_counter()
    seeds, points = failures.shape[1], design.points
    surface = fit_surface(
        np.repeat(points, seeds, axis=0),
        failures.ravel(),
        np.full(failures.size, design.tasks),
        clusters=np.tile(np.arange(seeds), len(points)),
        scales=("log", "linear")[: design.axes],
    )
    found = boundary_band(surface, design.fine, design.level)
    seconds = time.perf_counter() - start
    nearest = np.rint(true * [len(FINE_X) - 1, len(FINE_Y) - 1]).astype(int)[:, : design.axes]
    lines = len(found.lines) - (len(true) - 1 if design.axes == 1 else 0)
    return Outcome(bool(found.band[tuple(nearest.T)].all()), lines, lines, float(found.band.mean()), seconds)


def with_wilson(failures: np.ndarray, true: np.ndarray, design: Design) -> Outcome:
    """Draw the contours of the share and of its pointwise intervals, and compare them with the true boundary."""
    start = time.perf_counter()
    level, trials = design.level, design.tasks * failures.shape[1]
    shape = design.unit.shape[:2]
    share = failures.mean(axis=1).reshape(shape) / design.tasks
    low, high = (end.reshape(shape) for end in wilson(failures.sum(axis=1), np.full(len(failures), trials)))
    if design.axes == 1:
        return _along_a_line((share[:, 0], low[:, 0], high[:, 0]), true[:, 0], level, start)
    grid = Grid(Axis(RATES, "log", RATES, np.exp(edges(np.log(RATES)))), Axis(DEPTHS, "linear", DEPTHS, edges(DEPTHS)))
    lines, lower, upper = (len(boundary(values.T, grid, level)) for values in (share, low, high))
    seconds = time.perf_counter() - start
    axes = np.linspace(0, 1, shape[0]), np.linspace(0, 1, shape[1])
    least, largest = (RegularGridInterpolator(axes, values) for values in (low, high))
    covered = bool(((least(true) <= level) & (largest(true) >= level)).all())
    fine = np.stack(np.meshgrid(FINE_X, FINE_Y, indexing="ij"), axis=-1)
    width = float(((least(fine) <= level) & (largest(fine) >= level)).mean())
    return Outcome(covered, lines, max(lines, lower, upper), width, seconds)


def _along_a_line(
    shares: tuple[np.ndarray, np.ndarray, np.ndarray], true: np.ndarray, level: float, start: float
) -> Outcome:
    """Compare shares and the ends of their intervals, (learning rates,), with the true boundaries along one axis."""
    lines, lower, upper = (int(np.count_nonzero(np.diff(values > level))) for values in shares)
    seconds = time.perf_counter() - start
    at = np.linspace(0, 1, len(RATES))

    def inside(places: np.ndarray) -> np.ndarray:
        least, largest = (np.interp(places, at, values) for values in shares[1:])
        return (least <= level) & (largest >= level)

    more = len(true) - 1
    covered, width = bool(inside(true).all()), float(inside(FINE_X).mean())
    return Outcome(covered, lines - more, max(lines, lower, upper) - more, width, seconds)


def simulate(truth: Truth, seeds: int, design: Design, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Return failures, (points, seeds), and points of the true boundary at the level of their rate."""
    unit = design.unit
    offset = rng.uniform(-0.5, 0.5) / STEPS[0]
    shifts = truth.shift * rng.standard_normal(seeds)
    own = truth.own * rng.standard_normal((1, unit.shape[1], seeds))
    rates = truth.rates(unit[..., 0], unit[..., 1], offset, shifts + own)
    if design.tasks == 1:
        failures = (rng.random(rates.shape) < rates).astype(float)
    else:
        failures = rng.binomial(design.tasks, _of_cells(rates, design.correlation, rng)).astype(float)
    beyond = truth.from_half(design.level)
    true = crossings(lambda x, y: truth.distance(x, y, offset) - beyond, design.axes)
    return failures.reshape(-1, seeds), true


def _of_cells(rates: np.ndarray, correlation: float, rng: np.random.Generator) -> np.ndarray:
    """Return each cell's own rate, beta-distributed around these so that its tasks have a correlation."""
    if correlation == 0:
        return rates
    size, inner = 1 / correlation - 1, np.clip(rates, 1e-6, 1 - 1e-6)
    own = rng.beta(inner * size, (1 - inner) * size)
    return np.where((rates > 0) & (rates < 1), own, rates)


def row(name: str, seeds: int, method: str, outcomes: list[Outcome]) -> str:
    """Return a line of the table."""

    def share(chosen: list[bool]) -> str:
        return f"{np.mean(chosen):.1%}"

    cells = [
        name,
        str(seeds),
        method,
        share([one.covered for one in outcomes]),
        share([one.lines > 1 for one in outcomes]),
        share([one.any_lines > 1 for one in outcomes]),
        share([one.lines < 1 for one in outcomes]),
        f"{np.mean([one.width for one in outcomes]):.1%}",
        f"{np.mean([one.seconds for one in outcomes]):.2f}",
    ]
    return f"| {' | '.join(cells)} |"


def main() -> None:
    """Print a table."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--repeats", type=int, default=100, metavar="N", help="simulations per row (default 100)")
    parser.add_argument("--seeds", type=int, nargs="+", default=[8, 16], metavar="N", help="seeds per point")
    parser.add_argument("--truths", nargs="+", default=list(TRUTHS), choices=TRUTHS, metavar="TRUTH", help="which maps")
    parser.add_argument("--first", type=int, default=0, metavar="N", help="number of the first simulation (default 0)")
    parser.add_argument("--level", type=float, default=0.5, metavar="P", help="P(lost) at the boundary (default 0.5)")
    parser.add_argument("--tasks", type=int, default=1, metavar="M", help="late tasks per cell (default 1: verdicts)")
    parser.add_argument(
        "--correlation", type=float, default=0.0, metavar="R", help="between the tasks of a cell (default 0)"
    )
    parser.add_argument("--axes", type=int, choices=(1, 2), default=2, help="axes of the map (default 2)")
    options = parser.parse_args()
    if not 0 < options.level < 0.85:
        parser.error("--level must lie between 0 and 0.85, the lowest plateau")
    if options.tasks < 1 or not 0 <= options.correlation < 1:
        parser.error("--tasks must be at least 1, and --correlation at least 0 and below 1")
    design = Design(options.level, options.tasks, options.correlation, options.axes)
    print("| truth | seeds | method | covered | extra lines | of any contour | no line | width of band | seconds |")
    print("|---|---|---|---|---|---|---|---|---|")
    for name in options.truths:
        for seeds in options.seeds:
            made = [
                simulate(TRUTHS[name], seeds, design, np.random.default_rng([number, seeds]))
                for number in range(options.first, options.first + options.repeats)
            ]
            for label, method in (("surface", with_surface), ("Wilson", with_wilson)):
                print(row(name, seeds, label, [method(*one, design) for one in made]), flush=True)


if __name__ == "__main__":
    main()
