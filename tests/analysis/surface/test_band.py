"""Boundaries: where there are none, one axis, two axes, what is left out, gaps, coverage."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.special import ndtr

from analysis.surface import Boundary, Surface, boundary_band, boundary_bands, fit_surface
from analysis.surface.band import grow, supported
from analysis.surface.lattice import regions
from analysis.surface.lines import zero_lines, zero_points
from lop_sweep.errors import AnalysisError

FINE = np.linspace(0, 1, 61)
RATES, DEPTHS = np.linspace(0, 1, 9), np.linspace(0, 1, 4)


def line_of(x: np.ndarray, successes: np.ndarray, trials: int = 8) -> Surface:
    return fit_surface(x[:, None], successes, np.full(len(x), trials))


def map_of(edge: float = 0.45, seeds: int = 6, seed: int = 0) -> Surface:
    """A map with a gradual edge along the first axis."""
    points = np.stack(np.meshgrid(RATES, DEPTHS, indexing="ij"), axis=-1).reshape(-1, 2)
    lost = np.random.default_rng(seed).random((len(points), seeds)) < ndtr((points[:, :1] - edge) / 0.08)
    clusters = np.tile(np.arange(seeds), len(points))
    return fit_surface(np.repeat(points, seeds, axis=0), lost.ravel(), np.ones(lost.size), clusters=clusters)


@pytest.mark.parametrize("lost", [0, 8])
def test_equal_outcomes_everywhere_give_no_boundary(lost: int) -> None:
    found = boundary_band(line_of(RATES, np.full(9, lost)), [FINE])
    assert not found.lines
    assert not found.band.any()
    assert not len(found.intervals)
    assert (found.above if lost else found.below).all()


def test_one_axis_has_an_interval_around_the_step() -> None:
    found = boundary_band(line_of(RATES, np.where(RATES > 0.55, 8, 0)), [FINE])
    assert [line.shape for line in found.lines] == [(1, 1)]
    assert 0.5 < found.lines[0][0, 0] < 0.625
    assert found.intervals.shape == (1, 2)
    low, high = found.intervals[0]
    assert 0.3 < low <= 0.52
    assert 0.61 <= high < 0.8
    assert found.below[0]
    assert found.above[-1]
    assert not (found.band & (found.above | found.below)).any()
    assert (found.n == 8).all()


def test_line_and_band_follow_the_level() -> None:
    surface = line_of(RATES, np.rint(40 * RATES), 40)
    places = [boundary_band(surface, [FINE], level).lines[0][0, 0] for level in (0.25, 0.5, 0.75)]
    np.testing.assert_allclose(places, [0.25, 0.5, 0.75], atol=0.06)
    found = boundary_band(surface, [FINE], 0.5)
    at = int(np.rint(places[1] * 60))
    assert found.rate[at] == pytest.approx(0.5, abs=0.03)
    assert found.low[at] < 0.5 < found.high[at]


def test_levels_found_together_are_those_found_alone() -> None:
    surface, levels = map_of(), (0.1, 0.5, 0.9)
    for level, found in zip(levels, boundary_bands(surface, [FINE, FINE], levels), strict=True):
        alone = boundary_band(surface, [FINE, FINE], level)
        assert (found.level, found.critical) == (level, alone.critical)
        np.testing.assert_array_equal(found.band, alone.band)
        assert [line.tolist() for line in found.lines] == [line.tolist() for line in alone.lines]


def test_two_axes_have_one_line_within_the_band() -> None:
    found = boundary_band(map_of(), [FINE, FINE])
    assert len(found.lines) == 1
    nodes = np.rint(found.lines[0] * 60).astype(int)
    assert found.band[nodes[:, 0], nodes[:, 1]].all()
    assert not found.interpolated[0].any()
    assert len(found.interpolated[0]) == len(found.lines[0]) - 1
    assert found.band.shape == found.rate.shape == found.n.shape == (61, 61)


def test_higher_confidence_gives_a_wider_band() -> None:
    surface = map_of()
    sizes = [boundary_band(surface, [FINE, FINE], confidence=share).band.sum() for share in (0.5, 0.95, 0.99)]
    assert sizes[0] < sizes[1] <= sizes[2]


def missing_of(share: np.ndarray, points: np.ndarray, seeds: int = 6) -> Surface:
    """A surface of the share of cells without an outcome, each lacking one with the probability of its point."""
    missing = np.random.default_rng(3).random((len(points), seeds)) < share[:, None]
    clusters = np.tile(np.arange(seeds), len(points))
    return fit_surface(np.repeat(points, seeds, axis=0), missing.ravel(), np.ones(missing.size), clusters=clusters)


def test_nothing_is_drawn_where_most_cells_have_no_outcome() -> None:
    y = np.linspace(0, 2, 61)
    points = np.stack(np.meshgrid(RATES, np.linspace(0, 2, 7), indexing="ij"), axis=-1).reshape(-1, 2)
    surface = map_of()
    excluded = missing_of((points[:, 1] > 1.2).astype(float), points)
    found = boundary_band(surface, [FINE, y], excluded=excluded)
    assert found.left_out[:, y > 1.34].all()
    assert not found.left_out[:, y < 1.0].any()
    assert not (found.left_out & (found.band | found.above | found.below)).any()
    assert max(line[:, 1].max() for line in found.lines) <= 1.34


def test_the_region_without_outcomes_is_fitted_as_well() -> None:
    """Some seeds have outcomes at every point; most have none where y > 0.6 by a gradual rise."""
    points = np.stack(np.meshgrid(RATES, np.linspace(0, 1, 6), indexing="ij"), axis=-1).reshape(-1, 2)
    y = np.linspace(0, 1, 41)
    excluded = missing_of(ndtr((points[:, 1] - 0.6) / 0.25), points)
    found = boundary_band(map_of(), [FINE, y], excluded=excluded)
    assert (found.left_out == (y > 0.6)).mean() > 0.9


def test_a_step_along_one_axis_is_covered_whole() -> None:
    """Nothing is known between two values that all seeds and tasks agree at."""
    points, seeds, tasks = np.linspace(0, 1, 11), 8, 25
    failures = np.where(points > 0.45, tasks, 0).repeat(seeds)
    surface = fit_surface(
        points.repeat(seeds)[:, None], failures, np.full(len(failures), tasks), clusters=np.tile(np.arange(seeds), 11)
    )
    ((low, high),) = boundary_band(surface, [FINE]).intervals
    assert 0.3 < low <= 0.4 + 1e-9
    assert 0.5 - 1e-9 <= high < 0.6


def test_segments_in_a_gap_of_an_axis_are_marked() -> None:
    x = np.array([0, 0.1, 0.2, 0.3, 0.7, 0.8, 0.9, 1.0])
    in_gap = boundary_band(line_of(x, np.where(x > 0.5, 8, 0)), [FINE])
    beside = boundary_band(line_of(x, np.where(x > 0.15, 8, 0)), [FINE])
    assert [mark.tolist() for mark in in_gap.interpolated] == [[True]]
    assert [mark.tolist() for mark in beside.interpolated] == [[False]]


def test_segments_in_a_gap_of_a_map_are_marked() -> None:
    x = np.array([0, 0.1, 0.2, 0.3, 0.7, 0.8, 0.9, 1.0])
    points = np.stack(np.meshgrid(x, DEPTHS, indexing="ij"), axis=-1).reshape(-1, 2)
    surface = fit_surface(points, np.where(points[:, 0] > 0.5, 8, 0), np.full(len(points), 8))
    (marks,) = boundary_band(surface, [FINE[::2], FINE[::6]]).interpolated
    assert marks.all()


def test_other_axes_are_held_at_one_value() -> None:
    rng = np.random.default_rng(0)
    points = rng.random((80, 3))
    lost = rng.binomial(8, ndtr(12 * (points[:, 0] - 0.3 - 0.4 * points[:, 2])))
    surface = fit_surface(points, lost, np.full(80, 8))
    places = [boundary_band(surface, [FINE, 0.5, z]).lines[0][0, 0] for z in (0.1, 0.9)]
    np.testing.assert_allclose(places, [0.34, 0.66], atol=0.07)


def test_logarithmic_axis_keeps_its_units() -> None:
    x = np.geomspace(0.001, 1, 9)
    surface = fit_surface(x[:, None], np.where(x > 0.03, 8, 0), np.full(9, 8), scales=("log",))
    found = boundary_band(surface, [np.geomspace(0.001, 1, 61)])
    assert 0.02 < found.lines[0][0, 0] < 0.1


@pytest.mark.parametrize(
    ("axes", "options", "message"),
    [
        ([FINE], {}, "one array per axis, 2 in total, got 1"),
        ([0.5, 0.5], {}, "must vary along one or two axes, got 0"),
        ([FINE[::-1], 0.5], {}, "finite, increasing values, got others along axis 0"),
        ([FINE, np.nan], {}, "finite, increasing values, got others along axis 1"),
        ([FINE, 0.5], {"level": 1.0}, "`level` must be between 0 and 1, got 1.0"),
        ([FINE, 0.5], {"confidence": 0.0}, "`confidence` must be between 0 and 1"),
        ([FINE, 0.5], {"excluded": [[0.5, 0.5]]}, "`excluded` must be a surface over the same axes"),
        (
            [FINE, 0.5],
            {"excluded": line_of(RATES, 8 * (RATES > 0.5))},
            "`excluded` must be a surface over the same axes",
        ),
    ],
)
def test_grids_that_do_not_fit_are_refused(axes: list[object], options: dict[str, object], message: str) -> None:
    with pytest.raises(AnalysisError, match=message):
        boundary_band(map_of(seeds=1), axes, **options)  # type: ignore[arg-type]


def test_zero_lines_are_a_circle_and_an_open_line() -> None:
    x = np.linspace(-1, 1, 41)
    X, Y = np.meshgrid(x, x, indexing="ij")
    (circle,) = zero_lines(np.hypot(X, Y) - 0.613, np.ones(X.shape, bool))
    places = circle / 20 - 1
    np.testing.assert_allclose(np.hypot(*places.T), 0.613, atol=2e-3)
    np.testing.assert_array_equal(places[0], places[-1])
    (straight,) = zero_lines(X - 0.513, np.ones(X.shape, bool))
    np.testing.assert_allclose(straight[:, 0] / 20 - 1, 0.513)
    assert len(straight) == 41
    assert len(zero_lines(X - 0.513, Y != 0)) == 2
    np.testing.assert_allclose(zero_points(x - 0.513, np.ones(41, bool)) / 20 - 1, [0.513])


def test_saddles_have_two_lines() -> None:
    for sign in (1, -1):
        lines = zero_lines(sign * np.array([[1.0, -1.2], [-1.2, 1.0]]), np.ones((2, 2), bool))
        assert sorted(len(line) for line in lines) == [2, 2]


def test_regions_are_connected_areas() -> None:
    inside = np.array([[1, 1, 0], [0, 0, 1], [1, 0, 1]], bool)
    assert len(np.unique(regions(inside))) == 5
    spiral = np.array([[1, 1, 1, 1], [0, 0, 0, 1], [1, 1, 0, 1], [1, 1, 1, 1]], bool)
    assert len(np.unique(regions(spiral))) == 2


def test_regions_within_the_band_have_no_line() -> None:
    score = np.array([-5.0, -4, 0.5, -4, -5, 3, 6])
    assert (supported(score, np.abs(score) > 2) > 0).tolist() == [False] * 5 + [True] * 2
    assert (supported(score, np.abs(score) > 9) > 0).sum() in (0, 7)


def test_grow_adds_the_neighbours() -> None:
    mask = np.zeros((5, 5), bool)
    mask[2, 1] = True
    assert np.argwhere(grow(mask)).tolist() == [[i, j] for i in (1, 2, 3) for j in (0, 1, 2)]


def covers(found: Boundary, edge: float) -> bool:
    return bool(found.band[int(np.rint(edge * 60))].all())


def test_band_covers_the_boundary_in_most_maps() -> None:
    """12 maps at 95%: fewer than 10 covered would be seen in 2% of runs of a test that is not seeded."""
    edges = 0.4 + 0.1 * np.random.default_rng(5).random(12)
    grid = [FINE, np.linspace(0, 1, 13)]
    found = [boundary_band(map_of(edge, seed=number), grid) for number, edge in enumerate(edges)]
    assert sum(map(covers, found, edges)) >= 10
    assert sum(len(one.lines) != 1 for one in found) <= 1
    assert np.mean([one.band.mean() for one in found]) < 0.4


@pytest.mark.long
def test_band_covers_the_boundary_in_many_maps() -> None:
    """150 maps at 95%: fewer than 134 covered would be seen in 0.4% of runs of a test that is not seeded."""
    edges = 0.4 + 0.1 * np.random.default_rng(6).random(150)
    grid = [FINE, np.linspace(0, 1, 13)]
    found = [boundary_band(map_of(edge, seed=100 + number), grid) for number, edge in enumerate(edges)]
    assert sum(map(covers, found, edges)) >= 134
    assert sum(len(one.lines) != 1 for one in found) <= 8


def test_a_boundary_without_pointwise_rates_is_the_same() -> None:
    surface = map_of()
    (with_rates,) = boundary_bands(surface, [FINE, FINE], [0.5])
    (without,) = boundary_bands(surface, [FINE, FINE], [0.5], pointwise=False)
    np.testing.assert_array_equal(with_rates.band, without.band)
    np.testing.assert_array_equal(np.concatenate(with_rates.lines), np.concatenate(without.lines))
    assert np.isnan(without.rate).all()
