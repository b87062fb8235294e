"""Fitted surfaces: invariances, clusters, overdispersion, axes, refusals."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from scipy.special import ndtr

from analysis.surface import DEFAULT, FINE, Surface, fit_outcomes, fit_surface, scaling_of
from lop_sweep.errors import AnalysisError

AT = np.linspace(0, 1, 7)[:, None]


def cells(seeds: int = 6, shift: float = 0.0, trials: int = 1, own: float = 0.0) -> dict[str, Any]:
    """Cells along one axis: latent 8 (x - 1/2), shifts per seed and per cell, and some trials each."""
    rng = np.random.default_rng(3)
    x = np.repeat(np.linspace(0, 1, 12), seeds)
    shifts = shift * np.tile(rng.standard_normal(seeds), 12) + own * rng.standard_normal(len(x))
    successes = rng.binomial(trials, ndtr(8 * (x - 0.5) + shifts))
    clusters = np.tile(np.arange(seeds), 12)
    return {
        "points": x[:, None], "successes": successes, "trials": np.full(len(x), trials), "clusters": clusters
    }  # fmt: skip


def rates_of(surface: Surface) -> np.ndarray:
    return np.array(surface.rate(AT))


def test_order_of_rows_and_names_of_clusters_do_not_matter() -> None:
    given = cells(shift=1.0)
    order = np.random.default_rng(0).permutation(len(given["points"]))
    shuffled = {name: values[order] for name, values in given.items()}
    shuffled["clusters"] = np.array([f"seed {number}" for number in shuffled["clusters"]])
    np.testing.assert_array_equal(rates_of(fit_surface(**shuffled)), rates_of(fit_surface(**given)))


def test_counts_split_into_trials_give_the_same_surface() -> None:
    counts = cells(trials=3)
    k = counts["successes"]
    single = np.concatenate([np.arange(3) < count for count in k])
    split = fit_surface(
        np.repeat(counts["points"], 3, axis=0), single, np.ones(len(single)), clusters=np.repeat(counts["clusters"], 3)
    )
    np.testing.assert_array_equal(rates_of(split), rates_of(fit_surface(**counts)))


def test_rows_without_trials_and_duplicates_of_points_add_nothing() -> None:
    given = cells()
    summed = [np.bincount(np.repeat(np.arange(12), 6), given[name]) for name in ("successes", "trials")]
    points = np.append(given["points"][::6], [[0.123]], axis=0)
    once = fit_surface(points, np.append(summed[0], 0), np.append(summed[1], 0))
    several = fit_surface(given["points"], given["successes"], given["trials"])
    np.testing.assert_array_equal(rates_of(once), rates_of(several))
    assert len(once.outcomes.points) == 12


def test_rate_is_near_the_truth_and_inside_its_interval() -> None:
    rate, low, high = rates_of(fit_surface(**cells(seeds=40)))
    truth = ndtr(8 * (AT[:, 0] - 0.5))
    assert np.abs(rate - truth).max() < 0.1
    assert ((low <= rate) & (rate <= high)).all()
    assert ((low <= truth + 0.02) & (truth - 0.02 <= high)).all()


def test_seeds_that_differ_widen_the_interval() -> None:
    given = cells(seeds=8, shift=2.0)
    clustered = fit_surface(**given)
    assert clustered.spread > 0.8
    independent = fit_surface(given["points"], given["successes"], given["trials"])
    assert independent.spread == 0
    widths = [high[3] - low[3] for _, low, high in (rates_of(clustered), rates_of(independent))]
    assert widths[0] > 1.3 * widths[1]


def test_trials_of_a_cell_that_agree_count_less() -> None:
    """25 tasks per cell: binomial counts have a correlation near 0, cells with shifts of their own do not."""
    binomial, overdispersed = (fit_surface(**cells(trials=25, own=own)) for own in (0.0, 1.0))
    assert binomial.correlation < 0.03
    assert overdispersed.correlation > 0.1
    widths = [(high - low)[3] for _, low, high in (rates_of(overdispersed), rates_of(binomial))]
    assert widths[0] > 1.5 * widths[1]
    assert fit_surface(**cells()).correlation == 0


@pytest.mark.parametrize("axes", [1, 2, 3, 4])
def test_rates_rise_along_the_axis_that_matters(axes: int) -> None:
    rng = np.random.default_rng(axes)
    points = rng.random((60, axes))
    lost = rng.binomial(4, ndtr(6 * (points[:, 0] - 0.5)))
    surface = fit_surface(points, lost, np.full(60, 4))
    ends = np.full((2, axes), 0.5)
    ends[:, 0] = 0.1, 0.9
    rate, _, _ = surface.rate(ends)
    assert rate[0] < 0.2 < 0.8 < rate[1]
    assert (surface.kernel.lengths[1:] > surface.kernel.lengths[0]).all()


def test_categories_have_surfaces_of_their_own() -> None:
    x = np.tile(np.linspace(0, 1, 9), 2)
    category = np.repeat([0, 5], 9)
    lost = np.where(category == 0, x > 0.5, x < 0.5) * 6
    surface = fit_surface(np.column_stack([x, category]), lost, np.full(18, 6), scales=("linear", "category"))
    rate, _, _ = surface.rate([[0.1, 0], [0.9, 0], [0.1, 5], [0.9, 5]])
    assert (rate > 0.5).tolist() == [False, True, True, False]


def test_units_of_an_axis_do_not_matter() -> None:
    given = cells()
    plain = fit_surface(**given).rate(AT)
    scaled = fit_surface(**{**given, "points": 10.0 ** (3 * given["points"] - 2)}, scales=("log",))
    np.testing.assert_allclose(scaled.rate(10.0 ** (3 * AT - 2)), plain, atol=1e-4)


def test_latent_moments_belong_to_the_rates() -> None:
    surface = fit_surface(**cells(seeds=30))
    mean, covariance = surface.latent(AT)
    assert np.linalg.eigvalsh(covariance).min() > -1e-9
    rate, low, high = surface.rate(AT, confidence=0.6827)
    middle = slice(2, 5)  # where the distribution is nearly normal
    np.testing.assert_allclose(ndtr(mean / np.hypot(1, surface.spread))[middle], rate[middle], atol=0.03)
    assert (np.diag(covariance) > 0).all()
    assert (low < high).all()


def test_draws_have_the_moments_of_the_latent() -> None:
    """Also between points, one of which has trials."""
    surface = fit_surface(**cells(seeds=30))
    mean, covariance = surface.latent(AT)
    drawn = np.concatenate([surface.draw(AT, np.random.default_rng(seed)) for seed in range(10)])
    scale = np.sqrt(np.diag(covariance))
    assert drawn.shape == (10 * len(surface.shifts), len(AT))
    np.testing.assert_allclose((drawn.mean(axis=0) - mean) / scale, 0.0, atol=0.1)
    np.testing.assert_allclose(np.cov(drawn.T) / np.outer(scale, scale), covariance / np.outer(scale, scale), atol=0.1)


def test_a_draw_goes_through_its_own_latent_at_the_points() -> None:
    surface = fit_surface(**cells())
    at = surface.outcomes.points
    own = (surface.root @ surface.whitened).T
    np.testing.assert_allclose(surface.draw(at, np.random.default_rng(0)), own, atol=0.05)


def test_other_outcomes_with_the_same_hyperparameters() -> None:
    first = fit_surface(**cells(seeds=12, trials=4, own=0.5))
    outcomes = fit_surface(**cells(seeds=6, trials=4, own=0.5)).outcomes
    again = fit_outcomes(outcomes, first.scaling, rng=np.random.default_rng(0), tuned=first.tuned)
    assert again.kernel.amplitude == first.kernel.amplitude
    np.testing.assert_array_equal(again.kernel.lengths, first.kernel.lengths)
    assert (again.spread, again.correlation) == (first.spread, first.correlation)
    assert again.correlation > 0
    assert again.tuned.weighted.trials.shape == outcomes.counts.trials.shape
    k, n = again.tuned.weigh(3.0, 4.0)
    assert (k, n) == pytest.approx((3 / (1 + 3 * first.correlation), 4 / (1 + 3 * first.correlation)))


def test_a_finer_schedule_has_more_draws() -> None:
    outcomes = fit_surface(**cells()).outcomes
    scaling = scaling_of(outcomes.points)
    fine, plain = (
        fit_outcomes(outcomes, scaling, rng=np.random.default_rng(0), schedule=schedule) for schedule in (FINE, DEFAULT)
    )
    assert len(fine.shifts) == 4 * len(plain.shifts) == 1600
    np.testing.assert_allclose(fine.rate(AT)[0], plain.rate(AT)[0], atol=0.05)


def test_equal_input_gives_equal_bits() -> None:
    np.testing.assert_array_equal(rates_of(fit_surface(**cells())), rates_of(fit_surface(**cells())))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"trials": [0, 0, 0], "successes": [0, 0, 0]}, "`trials` must be positive somewhere"),
        ({"points": [[1.0], [1.0], [1.0]]}, "at least two different points"),
        ({"points": [[1.0], [np.nan], [2.0]]}, "`points` must be finite"),
        ({"successes": [0, np.nan, 1]}, "`successes` must be whole numbers"),
        ({"successes": [0, 0.5, 1]}, "`successes` must be whole numbers"),
        ({"successes": [0, 3, 1]}, "between 0 and `trials`"),
        ({"successes": [0, -1, 1]}, "between 0 and `trials`"),
        ({"successes": [0, 1]}, r"`successes` must have shape \(3,\)"),
        ({"clusters": [0, 1]}, r"`clusters` must have shape \(3,\)"),
    ],
)
def test_input_that_cannot_be_fitted_is_refused(change: dict[str, Any], message: str) -> None:
    given = {"points": [[1.0], [2.0], [3.0]], "successes": [0, 1, 2], "trials": [2, 2, 2], "clusters": [0, 1, 2]}
    with pytest.raises(AnalysisError, match=message):
        fit_surface(**{**given, **change})


def test_points_and_confidence_are_checked() -> None:
    surface = fit_surface(**cells())
    with pytest.raises(AnalysisError, match="must be finite"):
        surface.rate([[np.nan]])
    with pytest.raises(AnalysisError, match="must have shape"):
        surface.rate([[0.1, 0.2]])
    with pytest.raises(AnalysisError, match="`confidence` must be between 0 and 1, got 95"):
        surface.rate(AT, confidence=95)
