"""Beliefs about a boundary against the exact posterior, by a million draws from the prior and their likelihoods."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from math import comb

import numpy as np
import pytest
from scipy.special import log_ndtr, ndtr

from analysis.refinement.beliefs import Beliefs, doubt
from analysis.surface import Counts, Outcomes, Scaling, Surface, fit_outcomes, fit_surface, scaling_of

CLUSTERS = 2
FITS = 30
"""Fits whose 400 draws are averaged: a probability is then known to 0.005."""
THRESHOLD = 0.2

TOLD = np.array([[0.0, 0.0], [0.3, 1.0], [0.8, 0.2], [1.0, 0.9]])
CANDIDATES = np.array([[0.5, 0.5], [0.8, 0.2], [0.1, 0.6]])
NUMBERS = np.array([0, 1, 1])
"""Their clusters."""
REFERENCE = np.array([[0.45, 0.6], [0.0, 0.0], [0.9, 0.5], [0.6, 0.1]])


COUNTS = {
    "mixed": ([[0, 0], [0, 1], [1, 0], [2, 1]], [[1, 1], [0, 1], [1, 2], [2, 1]]),
    "split": ([[0, 0], [0, 0], [1, 1], [1, 0]], [[1, 1], [1, 1], [1, 1], [1, 0]]),
    "unanimous": ([[4, 4]] * 4, [[4, 4]] * 4),
}
"""Successes and trials of both clusters at the four points."""


def told(kind: str) -> Outcomes:
    k, n = (np.array(table, float) for table in COUNTS[kind])
    return Outcomes(TOLD, Counts(k, n), clustered=True)


def fitted(outcomes: Outcomes) -> list[Surface]:
    scaling: Scaling = scaling_of(TOLD)
    first = fit_outcomes(outcomes, scaling, rng=np.random.default_rng(0))
    others = [fit_outcomes(outcomes, scaling, rng=np.random.default_rng(s), tuned=first.tuned) for s in range(1, FITS)]
    return [first, *others]


def beliefs(surface: Surface, seed: int = 0, threshold: float = THRESHOLD, trials: float = 1.0) -> Beliefs:
    return Beliefs(surface, CANDIDATES, NUMBERS, REFERENCE, threshold, np.random.default_rng([seed, 1]), trials)


@dataclass(frozen=True)
class Exact:
    """Draws from the prior, weighed by the likelihood: success of the candidates, (B, n), and sides, (B, q)."""

    weight: np.ndarray
    success: np.ndarray
    above: np.ndarray

    @classmethod
    def of(cls, surface: Surface, draws: int = 1_000_000, threshold: float = THRESHOLD) -> Exact:
        rng = np.random.default_rng(9)
        places = np.vstack([TOLD, CANDIDATES, REFERENCE])
        prior = surface.kernel(surface.scaling.squares(places, places)) + 1e-9 * np.eye(len(places))
        f = rng.standard_normal((draws, len(places))) @ np.linalg.cholesky(prior).T
        u = surface.spread * rng.standard_normal((draws, CLUSTERS))
        k, n = surface.tuned.weighted.successes, surface.tuned.weighted.trials  # divided by their design effect
        p = ndtr(f[:, :4, None] + u[:, None])
        weight = (p**k * (1 - p) ** (n - k)).prod(axis=(1, 2))
        success = ndtr(f[:, 4:7] + u[:, NUMBERS])
        return cls(weight / weight.sum(), success, f[:, 7:] > threshold)

    def after(self, candidate: int, success: bool) -> Exact:
        like = self.success[:, candidate] if success else 1 - self.success[:, candidate]
        weight = self.weight * like
        return Exact(weight / weight.sum(), self.success, self.above)

    @property
    def p(self) -> np.ndarray:
        return np.asarray(self.weight @ self.above)

    def left_by(self, candidates: Sequence[int]) -> np.ndarray:
        """Return the expected doubt after outcomes at all of these, as a share of the doubt now."""
        expected = np.zeros(len(self.p))
        for outcomes in itertools.product([True, False], repeat=len(candidates)):
            like = np.where(outcomes, self.success[:, candidates], 1 - self.success[:, candidates]).prod(axis=1)
            chance = self.weight @ like
            expected += chance * doubt((self.weight * like) @ self.above / chance)
        return expected / doubt(self.p)

    def gains(self) -> np.ndarray:
        rows = []
        for candidate in range(len(CANDIDATES)):
            chance = self.weight @ self.success[:, candidate]
            one, other = (self.after(candidate, success) for success in (True, False))
            rows.append(doubt(self.p) - chance * doubt(one.p) - (1 - chance) * doubt(other.p))
        return np.array(rows)


@pytest.fixture(scope="module", params=COUNTS)
def fits(request: pytest.FixtureRequest) -> list[Surface]:
    return fitted(told(request.param))


@pytest.fixture(scope="module")
def mixed() -> list[Surface]:
    return fitted(told("mixed"))


@pytest.fixture(scope="module")
def exact(fits: list[Surface]) -> Exact:
    return Exact.of(fits[0])


def success(made: Beliefs) -> np.ndarray:
    """Return the probability that the next trial of each candidate is a success."""
    return np.asarray(made._weight @ made._success)


def test_successes_are_as_probable_as_in_the_posterior(fits: list[Surface], exact: Exact) -> None:
    found = np.mean([success(beliefs(fit, s)) for s, fit in enumerate(fits)], axis=0)
    np.testing.assert_allclose(found, exact.weight @ exact.success, atol=0.015)


def sides(made: Beliefs) -> np.ndarray:
    """Return the probability of being above the threshold at the reference points."""
    return np.asarray(made._weight @ made._above)


def test_sides_are_as_probable_as_in_the_posterior(exact: Exact, fits: list[Surface]) -> None:
    """Where all outcomes agree they are sure, to 0.2%."""
    own = np.mean([sides(beliefs(fit, s)) for s, fit in enumerate(fits)], axis=0)
    sure = np.minimum(exact.p, 1 - exact.p) < 0.002
    np.testing.assert_allclose(own, exact.p, atol=0.015)
    np.testing.assert_allclose(own[sure], exact.p[sure], atol=0.002)


def test_a_normal_approximation_doubts_where_all_outcomes_agree() -> None:
    """Eight losses of eight at one point: what the draws are for."""
    z = np.linspace(-20, 20, 40_001)
    log = -(z**2) / (2 * 8.0) + 8 * log_ndtr(z)
    density = np.exp(log - log.max())
    exact = density[z < 0].sum() / density.sum()
    mode = z[log.argmax()]
    curvature = -np.gradient(np.gradient(log, z), z)[log.argmax()]
    assert ndtr(-mode * np.sqrt(curvature)) == pytest.approx(0.028, abs=0.002)
    assert exact == pytest.approx(0.00025, abs=0.00005)


@pytest.mark.parametrize("before", [[], [(0, 1)]], ids=["at once", "later"])
@pytest.mark.parametrize("kind", ["mixed", "split"])
def test_gains_are_those_of_the_posterior(kind: str, before: list[tuple[int, int]]) -> None:
    """Also after an outcome that reweighs the draws."""
    surfaces = fitted(told(kind))
    found, expected = [], Exact.of(surfaces[0])
    for candidate, outcome in before:
        expected = expected.after(candidate, bool(outcome))
    for s, fit in enumerate(surfaces):
        made = beliefs(fit, s)
        for candidate, outcome in before:
            made.observe(candidate, outcome)
        found.append(made.gains())
    mean, target = np.mean(found, axis=0), expected.gains()
    assert mean.shape == (3, 4)
    assert target.max() > 0.015
    np.testing.assert_allclose(mean, target, atol=0.2 * target.max())
    assert mean.sum(axis=1).argmax() == target.sum(axis=1).argmax()


def test_an_outcome_reweighs_the_draws_as_a_new_fit_would_draw_them(mixed: list[Surface]) -> None:
    """Three losses of three at a point that had none."""
    k, n = (np.vstack([table, [3, 0]]) for table in (told("mixed").counts.successes, told("mixed").counts.trials))
    with_it = Outcomes(np.vstack([TOLD, CANDIDATES[:1]]), Counts(k, n), clustered=True)
    before, ours, new = [], [], []
    for s, fit in enumerate(mixed):
        made = beliefs(fit, s)
        before.append(sides(made))
        made.observe(0, *fit.tuned.weigh(3, 3))
        ours.append(sides(made))
        again = fit_outcomes(with_it, fit.scaling, rng=np.random.default_rng(100 + s), tuned=fit.tuned)
        new.append(sides(beliefs(again, s)))
    mean = np.mean(ours, axis=0)
    np.testing.assert_allclose(mean, np.mean(new, axis=0), atol=0.02)
    assert np.abs(mean - np.mean(before, axis=0)).max() > 0.1


def test_several_trials_count_as_so_many_outcomes(mixed: list[Surface]) -> None:
    one, several = beliefs(mixed[0]), beliefs(mixed[0])
    for success in (1, 0, 1):
        one.observe(0, success)
    several.observe(0, 2, 3)
    np.testing.assert_allclose(one.gains(), several.gains(), atol=1e-6)


def test_what_was_taken_in_can_be_taken_back(mixed: list[Surface]) -> None:
    made = beliefs(mixed[0])
    before, share = made.gains(), made.effective
    made.observe(0, 1)
    made.observe(2, 0.4, 1.7)
    assert np.abs(made.gains() - before).max() > 0.001
    assert made.effective < share
    made.observe(2, -0.4, -1.7)
    made.observe(0, -1, -1)
    np.testing.assert_allclose(made.gains(), before, atol=1e-6)
    assert made.effective == pytest.approx(1.0, abs=1e-4)


@pytest.mark.parametrize("kind", ["mixed", "split"])
def test_several_trials_tell_more_but_no_more_than_there_is(kind: str) -> None:
    """What their number explains linearly lies between what one trial tells and what all of them do."""
    surface = fitted(told(kind))[0]
    one, four = (beliefs(surface, trials=trials).gains() for trials in (1, 4))
    made = beliefs(surface)
    exact = np.tile(doubt(sides(made)), (3, 1))
    for successes in range(5):
        like = comb(4, successes) * made._success**successes * (1 - made._success) ** (4 - successes)
        chance = made._weight @ like
        after = (made._weight[:, None] * like / chance).T @ made._above
        exact -= chance[:, None] * doubt(after)
    assert (four >= one).all()
    assert (four <= exact + 1e-6).all()
    assert four.max() > 1.3 * one.max()
    np.testing.assert_allclose(four, exact, atol=0.1 * exact.max())


@pytest.mark.parametrize("candidates", [[0], [0, 1], [0, 2], [0, 1, 2]])
@pytest.mark.parametrize("kind", ["mixed", "split"])
def test_outcomes_to_come_leave_nearly_the_doubt_that_is_expected(kind: str, candidates: list[int]) -> None:
    """Of one outcome it is exact; of several, each is taken to leave its share whatever the others say."""
    surfaces = fitted(told(kind))
    expected = Exact.of(surfaces[0]).left_by(candidates)
    found = np.mean([beliefs(fit, s).left_by(candidates) for s, fit in enumerate(surfaces)], axis=0)
    assert expected.min() < 0.9
    np.testing.assert_allclose(found, expected, atol=0.02 if len(candidates) == 1 else 0.08)


def test_without_outcomes_to_come_all_doubt_is_left(mixed: list[Surface]) -> None:
    np.testing.assert_array_equal(beliefs(mixed[0]).left_by([]), np.ones(4))


def test_an_outcome_that_cannot_be_changes_nothing(mixed: list[Surface]) -> None:
    """All draws succeed: no failure can be expected, and there is nothing to learn."""
    made = beliefs(mixed[0])
    made._success = np.ones_like(made._success)
    np.testing.assert_allclose(made.gains(), 0.0, atol=1e-6)


def test_a_single_seed() -> None:
    """No shifts: the fit has one cluster."""
    surface = fit_surface(TOLD, [0, 0, 2, 2], [2, 2, 2, 2])
    made = Beliefs(surface, CANDIDATES, np.zeros(3, int), REFERENCE, THRESHOLD, np.random.default_rng(0))
    assert success(made)[1] > 0.7 > success(made)[2]
    assert made.gains().max() > 0.01


def test_another_trial_there_gains_less(mixed: list[Surface]) -> None:
    made = beliefs(mixed[0])
    best = int(made.gains().sum(axis=1).argmax())
    before = made.gains().sum(axis=1)[best]
    for _ in range(3):
        made.observe(best, float(success(made)[best] >= 0.5))
    assert made.gains().sum(axis=1)[best] < before
