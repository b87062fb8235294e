"""Outcomes that beliefs take in and replace, and what cells leave to doubt."""

from __future__ import annotations

import numpy as np
import pytest

from analysis.refinement.beliefs import Beliefs
from analysis.refinement.standing import EFFECTIVE, NOTHING, Standing
from analysis.surface import Surface, fit_surface

AT = np.linspace(0, 1, 6)[:, None]
CELLS = np.array([4, 9, 11, 20, 21, 30])


@pytest.fixture(scope="module")
def surface() -> Surface:
    """Return a fit to cells with 6 trials each that nearly agree, more often lost above the middle."""
    points, clusters = np.repeat(AT, 3, axis=0), np.tile(np.arange(3), 6)
    lost = [0, 0, 6, 0, 1, 0, 6, 0, 0, 6, 0, 6, 5, 6, 0, 6, 6, 6]
    return fit_surface(points, lost, np.full(18, 6), clusters=clusters)


def standing(surface: Surface) -> Standing:
    clusters = np.arange(6) % 3
    beliefs = Beliefs(surface, AT, clusters, AT, surface.threshold(0.5), np.random.default_rng(0))
    return Standing(CELLS, 6, surface.tuned, beliefs, {})


def test_cells_are_known_by_their_numbers(surface: Surface) -> None:
    now = standing(surface)
    assert now.number[11] == 2
    assert now.has([4, 30])
    assert not now.has([4, 5])


def test_an_outcome_replaces_the_earlier_one(surface: Surface) -> None:
    """Whatever came between, what is believed is as if only the last had been taken in."""
    now, only = standing(surface), standing(surface)
    now.take(30, (1.0, 1.0))
    now.take(4, (1.0, 1.0))
    now.take(30, (0.0, 1.0))
    now.take(4, NOTHING)
    only.take(30, (0.0, 1.0))
    assert now.taken == only.taken == {30: (0.0, 1.0)}
    np.testing.assert_allclose(now.beliefs.gains(), only.beliefs.gains(), atol=1e-5)


def test_cells_that_are_not_here_leave_all_doubt(surface: Surface) -> None:
    now = standing(surface)
    assert (now.left_by([5, 6]) == 1).all()
    np.testing.assert_array_equal(now.left_by([11, 5]), now.beliefs.left_by([2]))
    assert (now.left_by([11]) < 1).all()


def test_trials_of_a_cell_weigh_less_the_more_they_agree(surface: Surface) -> None:
    now, plain = standing(surface), standing(surface)
    within = now.tuned.correlation
    assert within > 0.2
    now.take(11, (9.0, 12.0))
    effect = 1 + 11 * within
    plain.beliefs.observe(2, 9 / effect, 12 / effect)
    np.testing.assert_allclose(now.beliefs.gains(), plain.beliefs.gains(), atol=1e-6)


def test_changes_are_what_differs(surface: Surface) -> None:
    now = standing(surface)
    now.take(4, (1.0, 1.0))
    now.take(9, (0.0, 1.0))
    assert now.changes({4: (1.0, 1.0), 9: (1.0, 1.0), 20: (0.0, 1.0)}) == [9, 20]
    assert now.changes({9: (0.0, 1.0)}) == [4]
    assert now.changes({4: (1.0, 1.0), 9: (0.0, 1.0)}) == []


def test_surprises_wear_out_the_draws(surface: Surface) -> None:
    now = standing(surface)
    assert not now.is_worn
    for _ in range(6):
        now.taken.clear()  # as other cells at the same place
        now.take(4, (1.0, 1.0))
    assert now.beliefs.effective < EFFECTIVE
    assert now.is_worn
    now.beliefs = standing(surface).beliefs
    assert not now.is_worn
