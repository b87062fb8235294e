"""Scores of sequences: hand-made ones with known answers, closed forms, and SciPy."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy.stats import theilslopes

from analysis.scoring import scores

NAN = math.nan


def rows(*sequences: list[float]) -> np.ndarray:
    return np.array(sequences, dtype=float)


def test_late_and_early_means() -> None:
    values = rows([1, 2, 3, 4, 9], [0, 0, 0, 2, NAN])
    np.testing.assert_array_equal(scores.late_mean(values, 2), [6.5, NAN])
    np.testing.assert_array_equal(scores.early_mean(values, 3), [2, 0])
    np.testing.assert_array_equal(scores.late_mean(values[:1], 99), [3.8])


def test_log_ratio_at_its_edges() -> None:
    late, fresh = np.array([0.1, 1.0, 0.0, 0.1, 0.0]), np.array([0.1, 0.1, 0.1, 0.0, 0.0])
    np.testing.assert_allclose(scores.log_ratio(late, fresh), [0, 1, -np.inf, np.inf, NAN])


def test_area_is_what_was_lost_and_gained() -> None:
    np.testing.assert_array_equal(scores.area(rows([1, -1, 0.5], [0, 0, 0], [1, NAN, 1])), [0.5, 0, NAN])


@pytest.mark.parametrize(
    ("condition", "hold", "task"),
    [
        ("0011101", 3, 3), ("0011101", 2, 3), ("0011101", 1, 3), ("0011101", 4, NAN), ("1111", 4, 1), ("1111", 5, NAN),
        ("0000011", 3, NAN), ("0000011", 2, 6), ("0101011", 2, 6), ("0", 1, NAN), ("1", 1, 1),
    ],
)  # fmt: skip
def test_onset_is_the_first_task_of_a_run(condition: str, hold: int, task: float) -> None:
    found = scores.onset(np.array([[mark == "1" for mark in condition]]), hold)
    np.testing.assert_array_equal(found, [task])


@pytest.mark.parametrize(
    ("condition", "hold", "recover", "state"),
    [
        ("0011100", 3, 2, "0011100"),  # two tasks are a recovery, counted from the first of them
        ("0011100", 3, 3, "0011111"),
        ("1110001110", 2, 2, "1110001111"),  # a relapse
        ("0110110", 3, 2, "0000000"),
        ("1", 1, 1, "1"),
        ("010101", 1, 1, "010101"),
        ("0000111", 3, 1, "0000111"),
    ],
)
def test_a_loss_lasts_until_a_recovery(condition: str, hold: int, recover: int, state: str) -> None:
    marks = np.array([[mark == "1" for mark in condition]])
    assert "".join("01"[int(mark)] for mark in scores.lost_state(marks, hold, recover)[0]) == state


def test_a_network_that_recovers_and_relapses_is_lost() -> None:
    """It fails at tasks 5 to 7, recovers at 8 to 20, and fails from 21 to 100."""
    task = np.arange(1, 101)[None]
    bad = ((task >= 5) & (task <= 7)) | (task >= 21)
    assert scores.lost_state(bad, 3, 10)[0, -1]
    assert list(np.flatnonzero(np.diff(scores.lost_state(bad, 3, 10)[0]))) == [3, 6, 19]


@given(arrays(bool, st.tuples(st.integers(1, 3), st.integers(1, 12))), st.integers(1, 13))
def test_onset_equals_a_search_task_by_task(condition: np.ndarray, hold: int) -> None:
    def search(row: np.ndarray) -> float:
        for start in range(len(row) - hold + 1):
            if row[start : start + hold].all():
                return start + 1
        return NAN

    np.testing.assert_array_equal(scores.onset(condition, hold), [search(row) for row in condition])


@pytest.mark.parametrize(
    ("condition", "since", "task"),
    [("0111000", 2, 5), ("0111001", 2, 5), ("0111010", 2, NAN), ("0001111", 4, NAN), ("0000000", NAN, NAN)],
)
def test_recovery_is_the_first_run_without_it_after_the_onset(condition: str, since: float, task: float) -> None:
    marks = np.array([[mark == "1" for mark in condition]])
    np.testing.assert_array_equal(scores.recovery(marks, np.array([since]), hold=2), [task])


def test_collapse_and_growth() -> None:
    values = rows([4, 4, 3, 1, 1], [0, 0, 5, 5, 5], [2, 2, 2, 4, 4])
    np.testing.assert_array_equal(scores.collapse(values, first=2, last=2), [0.75, NAN, -1.0])
    np.testing.assert_array_equal(scores.growth(values, first=2, last=2), [-3, 5, 2])


def test_the_slope_is_robust_against_a_few_tasks() -> None:
    line = 0.5 + 0.03 * np.arange(30)
    slope, low, high = scores.theil_sen(rows(line, [9, *line[1:20], -50, *line[21:]]))
    np.testing.assert_allclose(slope, 0.03, atol=1e-12)
    np.testing.assert_allclose([low[0], high[0]], 0.03, atol=1e-12)
    assert low[1] <= 0.03 <= high[1]


@settings(deadline=None)
@given(st.integers(2, 40), st.integers(0, 2**32 - 1), st.sampled_from([0.5, 0.9, 0.95]))
def test_slope_and_interval_equal_scipys(tasks: int, seed: int, level: float) -> None:
    values = np.random.default_rng(seed).normal(size=(3, tasks)).cumsum(axis=1)
    slope, low, high = scores.theil_sen(values, level)
    for index, row in enumerate(values):
        expected = theilslopes(row, np.arange(tasks), level)
        enough = (
            tasks >= {0.5: 3, 0.9: 4, 0.95: 5}[level]
        )  # with fewer no pair is steep enough; SciPy takes the steepest
        ends = [expected.low_slope, expected.high_slope] if enough else [NAN, NAN]
        numbers = [expected.slope, *ends]
        np.testing.assert_allclose([slope[index], low[index], high[index]], numbers, atol=1e-12)


def test_slopes_that_do_not_exist_are_nan() -> None:
    for values in (rows([1.0]), rows([1, 2, NAN]), rows([1, 2, np.inf])):
        np.testing.assert_array_equal(np.stack(scores.theil_sen(values)), np.full((3, 1), NAN))
    assert scores.theil_sen(np.empty((0, 5)))[0].shape == (0,)


def test_slopes_of_long_sequences_are_of_block_means() -> None:
    values = np.random.default_rng(0).normal(size=(2, 605)) + 0.01 * np.arange(605)
    blocks = values[:, : 151 * 4].reshape(2, 151, 4).mean(axis=2)
    expected = [theilslopes(row, 4.0 * np.arange(151)) for row in blocks]
    slope, low, high = scores.theil_sen(values)
    np.testing.assert_allclose(slope, [result.slope for result in expected], rtol=1e-9)
    np.testing.assert_allclose(low, [result.low_slope for result in expected], rtol=1e-9)
    np.testing.assert_allclose(high, [result.high_slope for result in expected], rtol=1e-9)


def test_many_cells_at_once_equal_one_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    values = np.random.default_rng(1).normal(size=(7, 20))
    whole = np.stack(scores.theil_sen(values))
    monkeypatch.setattr(scores, "MAX_PAIRS", 300)
    np.testing.assert_array_equal(np.stack(scores.theil_sen(values)), whole)
