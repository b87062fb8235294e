"""Surfaces of the outcomes of cells: what is added up, which seeds have shifts, and when hyperparameters are kept."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.special import ndtr

from analysis.refinement import Candidates
from analysis.refinement.fits import RETUNE_SHARE, Fits, Outcome, defined_at, defined_surface, rate_surface
from analysis.surface import fit_surface

SEEDS = 3
POINTS = np.column_stack([np.repeat(np.geomspace(1, 16, 8), 4), np.tile(np.linspace(0, 1, 4), 8)])


def plane(seeds: int = SEEDS) -> Candidates:
    """Return the cells of 32 points, seeds fastest."""
    count = len(POINTS) * seeds
    return Candidates(
        np.repeat(POINTS, seeds, axis=0), ("log", "linear"), np.tile(np.arange(seeds), len(POINTS)),
        np.ones(count), np.zeros(count, int),
    )  # fmt: skip


def outcomes(cells: np.ndarray, of: Candidates, trials: int = 1, seed: int = 0) -> dict[int, Outcome]:
    """Return outcomes of cells, more successes the larger the first axis."""
    rng = np.random.default_rng(seed)
    rate = ndtr(2 * np.log2(of.points[cells, 0]) - 4)
    return {int(c): (float(k), float(trials)) for c, k in zip(cells, rng.binomial(trials, rate), strict=True)}


def some(count: int, of: Candidates, seed: int = 1) -> np.ndarray:
    return np.random.default_rng(seed).permutation(len(of.seeds))[:count]


@pytest.mark.parametrize("trials", [1, 5])
def test_it_is_the_surface_of_the_same_cells(trials: int) -> None:
    """Up to the draws: the axes of all candidates, the cells' own counts, a shift per seed."""
    of = plane()
    cells = some(60, of)
    told = outcomes(cells, of, trials)
    ours = rate_surface(of, told)
    counts = np.array([told[int(cell)] for cell in cells])
    whole = fit_surface(
        of.points[cells], counts[:, 0], counts[:, 1], clusters=of.seeds[cells], scales=of.scales
    )  # it covers both axes
    np.testing.assert_allclose(ours.kernel.lengths, whole.kernel.lengths, rtol=1e-3)
    assert ours.spread == pytest.approx(whole.spread, rel=1e-3)
    np.testing.assert_allclose(ours.rate(POINTS)[0], whole.rate(POINTS)[0], atol=0.06)


def test_the_order_of_outcomes_does_not_matter() -> None:
    of = plane()
    told = outcomes(some(40, of), of)
    back = dict(reversed(told.items()))
    np.testing.assert_array_equal(rate_surface(of, told).whitened, rate_surface(of, back).whitened)


def test_a_seed_without_outcomes_keeps_its_prior() -> None:
    of = plane()
    cells = some(90, of)
    surface = rate_surface(of, outcomes(cells[of.seeds[cells] != 2], of))
    assert surface.shifts.shape[1] == SEEDS
    assert surface.shifts[:, 2].std() == pytest.approx(surface.spread, rel=0.15)
    assert surface.shifts[:, 2].std() > surface.shifts[:, 0].std()


def test_a_single_seed_has_no_shift() -> None:
    of = plane(1)
    surface = rate_surface(of, outcomes(np.arange(32), of))
    assert surface.spread == 0
    assert not surface.shifts.any()


def test_hyperparameters_are_kept_until_there_is_enough_that_is_new() -> None:
    of, fits = plane(), Fits(plane())
    told = outcomes(some(90, of), of)
    first = {cell: told[cell] for cell in [*told][:40]}
    before = fits.rate(first)
    more = {cell: told[cell] for cell in [*told][: 40 + int(RETUNE_SHARE * 40) - 1]}
    kept = fits.rate(more)
    np.testing.assert_array_equal(kept.tuned.parameters, before.tuned.parameters)
    assert kept.tuned.weighted.trials.sum() > before.tuned.weighted.trials.sum()
    anew = fits.rate(told)
    assert (anew.tuned.parameters != before.tuned.parameters).all()
    np.testing.assert_array_equal(anew.tuned.parameters, rate_surface(of, told).tuned.parameters)


def test_where_outcomes_are_undefined_is_learnt() -> None:
    """Whatever the seed, and also beside what has been computed."""
    of = plane()
    cells = some(60, of)
    told = {cell: outcome if of.points[cell, 0] < 6 else (0.0, 0.0) for cell, outcome in outcomes(cells, of).items()}
    chance = defined_at(of, told)
    assert chance[of.at[:, 0] < 2].min() > 0.9
    assert chance[of.at[:, 0] > 10].max() < 0.3
    np.testing.assert_allclose(Fits(of).defined(told), chance)


def test_if_all_are_defined_nothing_is_left_out() -> None:
    of = plane()
    told = outcomes(some(10, of), of)
    assert defined_surface(of, told) is None
    np.testing.assert_array_equal(defined_at(of, told), np.ones(32))
    np.testing.assert_array_equal(Fits(of).defined(told), np.ones(32))
