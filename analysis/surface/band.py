"""The boundary at which a rate passes a level, with a band that contains all of it with a given probability.

    score(x)  normal deviate of P(rate at x above the level), moved towards 0 for what lies between the data
    band      the points at which |score| <= critical

`critical` is the smallest value for which the given share of draws from the posterior have their whole boundary in the
band. These are the excursion sets of Bolin and Lindgren, calibrated for the boundary alone: the band is simultaneous
along it, and no wider than this needs.

Source: Bolin and Lindgren, "Excursion and contour uncertainty regions for latent Gaussian models", JRSS B 77 (2015).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from analysis.surface.lattice import Lattice, make_lattice, regions
from analysis.surface.lines import zero_lines, zero_points
from analysis.surface.low_rank import low_rank_factor
from analysis.surface.model import Prediction, Surface, rates
from lop_sweep.errors import AnalysisError


@dataclass(frozen=True)
class Boundary:
    """A boundary on a grid. Arrays have one dimension per varying axis of the grid, in the order of the axes.

    Attributes:
        level: of the rate.
        critical: what the score is compared with.
        score: normal deviate of P(rate above the level).
        rate, low, high: posterior median and each point's own interval; NaN if they were not asked for.
        n: trials at the nearest point of the data.
        band: whether the boundary may be there.
        above, below: whether the rate is above or below the level, outside the band.
        left_out: whether most trials there have no outcome; the point is then in no other region.
        lines: (points, varying axes) of each line, in the axes' own units; a single point for each with one axis.
        interpolated: (points - 1,) per line, whether a segment crosses a gap in an axis; (1,) with one axis.
        intervals: (K, 2) with one varying axis, the first and last value of each part of the band; else (0, 2).
    """

    level: float
    critical: float
    score: np.ndarray
    rate: np.ndarray
    low: np.ndarray
    high: np.ndarray
    n: np.ndarray
    band: np.ndarray
    left_out: np.ndarray
    lines: list[np.ndarray]
    interpolated: list[np.ndarray]
    intervals: np.ndarray

    @property
    def above(self) -> np.ndarray:
        """Points at which the rate is above the level, outside the band."""
        return ~self.band & ~self.left_out & (self.score > 0)

    @property
    def below(self) -> np.ndarray:
        """Points at which the rate is below the level, outside the band."""
        return ~self.band & ~self.left_out & (self.score <= 0)


def boundary_band(
    surface: Surface,
    axes: Sequence[npt.ArrayLike],
    level: float = 0.5,
    *,
    confidence: float = 0.95,
    excluded: Surface | None = None,
    rng: np.random.Generator | None = None,
) -> Boundary:
    """Return the boundary at a level on a grid, and its simultaneous band.

    A line is drawn only between regions that the band does not cover entirely. It is where the rate's posterior median
    passes the level. If all outcomes agree, there is neither line nor band.

    Args:
        surface: from `fit_surface`.
        axes: increasing values along each axis. One or two have several values; the others have one. Use some 4 to 8
            values per step of the data: with one value per step, the band covers everything and no line is drawn.
        level: of the rate, between 0 and 1.
        confidence: probability that the band contains the whole boundary, and of the points' own intervals.
        excluded: a surface over the same axes of the share of cells without an outcome, such as untrainable ones.
            Nothing is drawn where this share is above 1/2.
        rng: draws boundaries; None for a generator seeded with 0.

    Raises:
        AnalysisError: axes that do not fit the surface, or a level or confidence not between 0 and 1.
    """
    (boundary,) = boundary_bands(surface, axes, [level], confidence=confidence, excluded=excluded, rng=rng)
    return boundary


def boundary_bands(
    surface: Surface,
    axes: Sequence[npt.ArrayLike],
    levels: Sequence[float],
    *,
    confidence: float = 0.95,
    excluded: Surface | None = None,
    pointwise: bool = True,
    rng: np.random.Generator | None = None,
) -> list[Boundary]:
    """Return the boundary at each of several levels, for little more than the time of one.

    Each is as `boundary_band` returns it. Each band is simultaneous along its own boundary, not over the levels.

    Args:
        surface: as for `boundary_band`, and so are the other arguments.
        axes: increasing values along each axis.
        levels: of the rate, between 0 and 1.
        confidence: of each level's band.
        excluded: as for `boundary_band`.
        pointwise: whether to compute the rate of each point with its interval, which takes half of the time.
        rng: draws boundaries; all levels share the draws.

    Raises:
        AnalysisError: axes that do not fit the surface, or a level or confidence not between 0 and 1.
    """
    if not 0 < confidence < 1:
        raise AnalysisError(f"`confidence` must be between 0 and 1, got {confidence}")
    thresholds = [surface.threshold(level) for level in levels]
    scaling = surface.scaling
    if excluded is not None and not (isinstance(excluded, Surface) and excluded.scaling.scales == scaling.scales):
        raise AnalysisError("`excluded` must be a surface over the same axes as `surface`, from `fit_surface`")
    lattice = make_lattice(axes, scaling, scaling.coordinates(surface.outcomes.points))
    prediction = surface.predict(lattice.points)
    left_out, n = _surroundings(surface, lattice, excluded)
    unanimous = _unanimous(surface)
    generator = np.random.default_rng(0) if rng is None else rng
    draws = None if unanimous else _draw(surface, lattice, prediction, generator)
    known = (
        rates(prediction, surface.spread, confidence) if pointwise else np.full((3, len(prediction.variance)), np.nan)
    )
    middle, low, high = (values.reshape(lattice.shape) for values in known)
    found = []
    for level, threshold in zip(levels, thresholds, strict=True):
        raw = prediction.score(threshold).reshape(lattice.shape)
        if draws is None:
            critical, band, drawn = 0.0, np.zeros(lattice.shape, bool), np.zeros(lattice.shape, bool)
        else:
            size = np.abs(lattice.cautious(raw))
            critical = _critical(draws - threshold, size, ~left_out, confidence)
            band, drawn = grow(size <= critical) & ~left_out, ~left_out
        lines, interpolated = _lines(lattice, supported(raw, ~band & ~left_out), drawn)
        intervals = _intervals(lattice, band)
        found.append(
            Boundary(level, critical, raw, middle, low, high, n, band, left_out, lines, interpolated, intervals)
        )
    return found


def supported(score: np.ndarray, certain: np.ndarray) -> np.ndarray:
    """Return the score with the sign of every region without a certain point changed, smallest regions first.

    What remains are regions that the band does not cover entirely, or one region.

    Args:
        score: on a grid.
        certain: booleans, the points outside the band.
    """
    signed = np.where(score == 0, 1e-12, score)
    while True:
        labels = regions(signed > 0)
        names, sizes = np.unique(labels, return_counts=True)
        doubtful = np.setdiff1d(names, labels[certain], assume_unique=False)
        if len(names) == 1 or not len(doubtful):
            return signed
        smallest = doubtful[np.argmin(sizes[np.isin(names, doubtful)])]
        signed = np.where(labels == smallest, -signed, signed)


def grow(mask: np.ndarray) -> np.ndarray:
    """Return a mask with the grid points beside it, diagonally too: a boundary may run between them."""
    for axis in range(mask.ndim):
        rows = np.moveaxis(mask, axis, 0)
        grown = rows.copy()
        grown[1:] |= rows[:-1]
        grown[:-1] |= rows[1:]
        mask = np.moveaxis(grown, 0, axis)
    return mask


def _unanimous(surface: Surface) -> bool:
    k, n = surface.outcomes.counts.successes, surface.outcomes.counts.trials
    return bool(k.sum() in (0, n.sum()))


def _draw(surface: Surface, lattice: Lattice, prediction: Prediction, rng: np.random.Generator) -> np.ndarray:
    """Return draws of the latent on the grid, (B, *shape)."""
    at, known = surface.scaling.coordinates(lattice.points), prediction.known

    def column(index: int) -> np.ndarray:
        prior = surface.kernel(surface.scaling.squares(at, at[index : index + 1]))[:, 0]
        return np.asarray(prior - known.T @ known[:, index])

    factor = low_rank_factor(prediction.variance, column)
    noise = rng.standard_normal((len(prediction.means), len(factor))) @ factor
    return (prediction.means + noise).reshape(-1, *lattice.shape)


def _critical(draws: np.ndarray, size: np.ndarray, visible: np.ndarray, confidence: float) -> float:
    """Return the quantile over draws of the largest |score| along a draw's boundary; 0 for a draw without one."""
    largest = np.zeros(len(draws))
    for axis in range(size.ndim):
        ends = [np.moveaxis(size, axis, 0)[part] for part in (np.s_[:-1], np.s_[1:])]
        seen = np.moveaxis(visible, axis, 0)
        nearer = np.where(seen[1:] & seen[:-1], np.minimum(*ends), 0.0)
        up = np.moveaxis(draws, axis + 1, 1) > 0
        crossed = np.where(up[:, 1:] != up[:, :-1], nearer, 0.0)
        largest = np.maximum(largest, crossed.reshape(len(draws), -1).max(axis=1))
    return float(np.quantile(largest, confidence, method="higher"))


def _surroundings(surface: Surface, lattice: Lattice, excluded: Surface | None) -> tuple[np.ndarray, np.ndarray]:
    """Return which grid points are left out, and the trials at the nearest point of the data."""
    n = surface.outcomes.counts.trials.sum(axis=1)[lattice.nearest(lattice.data)]
    if excluded is None:
        return np.zeros(lattice.shape, bool), n
    share, _, _ = excluded.rate(lattice.points)
    return share.reshape(lattice.shape) > 0.5, n


def _lines(lattice: Lattice, score: np.ndarray, drawn: np.ndarray) -> tuple[list[np.ndarray], list[np.ndarray]]:
    axes = lattice.varying
    if len(axes) == 1:
        at = zero_points(score, drawn)
        return list(_values(lattice, axes[0], at)[:, None, None]), list(lattice.in_gap(axes[0], at)[:, None])
    places, marks = [], []
    for line in zero_lines(score, drawn):
        places.append(np.column_stack([_values(lattice, axis, line[:, i]) for i, axis in enumerate(axes)]))
        middles = (line[1:] + line[:-1]) / 2
        marks.append(np.logical_or.reduce([lattice.in_gap(axis, middles[:, i]) for i, axis in enumerate(axes)]))
    return places, marks


def _values(lattice: Lattice, axis: int, index: np.ndarray) -> np.ndarray:
    """Return an axis's values at fractional indices, interpolated in the logarithm on a logarithmic axis."""
    values = lattice.axes[axis]
    log = lattice.scaling.scales[axis] == "log"
    between = np.interp(index, np.arange(len(values)), np.log(values) if log else values)
    return np.exp(between) if log else between


def _intervals(lattice: Lattice, band: np.ndarray) -> np.ndarray:
    if band.ndim == 2:
        return np.empty((0, 2))
    edges = np.diff(np.concatenate([[0], band.astype(int), [0]]))
    values = lattice.axes[lattice.varying[0]]
    return np.column_stack([values[np.flatnonzero(edges == 1)], values[np.flatnonzero(edges == -1) - 1]])
