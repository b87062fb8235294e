"""The metrics: closed forms, the plain formulas as oracles, edge cases, and the array API standard."""

from __future__ import annotations

from typing import Any

import array_api_strict
import numpy as np
import pytest
import torch
from hypothesis import assume, given
from hypothesis import strategies as st

from lop_sweep.metrics import (
    LAYERED,
    METRICS,
    duplicate_fraction,
    effective_rank,
    saturation,
    stack_metrics,
    undefined_metrics,
    unstack_metrics,
)


def plain_effective_rank(z: np.ndarray) -> float:
    eigenvalues = np.linalg.eigvalsh(np.cov(z, rowvar=False)).clip(min=0)
    p = eigenvalues / eigenvalues.sum()
    p = p[p > 0]
    return float(np.exp(-(p * np.log(p)).sum()))


def plain_duplicate_fraction(a: np.ndarray, threshold: float) -> float:
    with np.errstate(invalid="ignore", divide="ignore"):
        correlation = np.nan_to_num(np.corrcoef(a, rowvar=False))
    return float(np.mean([any(abs(correlation[i, j]) > threshold for i in range(j)) for j in range(a.shape[1])]))


@pytest.mark.parametrize("k", [1, 2, 5])
def test_effective_rank_of_k_equal_directions_is_k(k: int) -> None:
    centred = np.random.default_rng(0).normal(size=(40, k))
    columns = np.linalg.qr(centred - centred.mean(axis=0))[0]  # orthonormal, and of mean zero
    z = np.hstack([columns, np.zeros((40, 3))])[None]
    assert effective_rank(z)[0] == pytest.approx(k, rel=1e-9)


def test_effective_rank_of_constant_features_is_one() -> None:
    assert effective_rank(np.full((1, 8, 3), 0.5))[0] == 1.0
    assert effective_rank(np.zeros((1, 8, 3)))[0] == 1.0


@given(st.integers(2, 12), st.integers(2, 12), st.integers(0, 2**32 - 1))
def test_effective_rank_equals_the_plain_formula_on_either_side(points: int, features: int, seed: int) -> None:
    """The smaller of Z^T Z and Z Z^T is used; both must give the covariance's value."""
    z = np.random.default_rng(seed).normal(size=(2, points, features)) * [1, 10][seed % 2]
    expected = [plain_effective_rank(one) for one in z]
    np.testing.assert_allclose(effective_rank(z), expected, rtol=1e-10)


@pytest.mark.parametrize("scale", [1e-200, 1e-20, 1e20, 1e200])
def test_effective_rank_does_not_depend_on_scale(scale: float) -> None:
    z = np.random.default_rng(0).normal(size=(1, 9, 4))
    assert effective_rank(z * scale)[0] == pytest.approx(effective_rank(z)[0], rel=1e-12)


@given(st.integers(3, 12), st.integers(1, 9), st.integers(0, 2**32 - 1), st.floats(0, 1))
def test_duplicate_fraction_equals_the_plain_formula(points: int, features: int, seed: int, threshold: float) -> None:
    rng = np.random.default_rng(seed)
    a = np.tanh(rng.normal(size=(points, max(features, 2))))
    a[:, -1] = a[:, 0] * rng.choice([1.0, -1.0, 0.3])  # a duplicate
    correlation = np.abs(np.corrcoef(a, rowvar=False))
    assume(
        np.abs(correlation - threshold)[np.triu_indices(len(correlation), k=1)].min() > 1e-12
    )  # else rounding decides
    assert duplicate_fraction(a[None], np.array([threshold]))[0] == pytest.approx(
        plain_duplicate_fraction(a, threshold), abs=1e-12
    )


def test_duplicates_in_closed_form() -> None:
    base = np.array([1.0, -1.0, 2.0, 0.5, -2.5])
    other = np.array([1.0, 1.0, -1.0, -1.0, 0.0])
    features = np.stack([base, other, base, -base, np.full(5, 0.3)], axis=1)[None]
    assert duplicate_fraction(features, np.array([0.95]))[0] == pytest.approx(2 / 5)
    assert duplicate_fraction(features[..., :1], np.array([0.0]))[0] == 0.0
    assert duplicate_fraction(features, np.array([1.0]))[0] == 0.0
    assert duplicate_fraction(np.zeros((1, 5, 3)), np.array([0.0]))[0] == 0.0


def test_each_network_of_a_pack_has_its_own_threshold() -> None:
    a = np.random.default_rng(0).normal(size=(1, 30, 6)).repeat(2, axis=0)
    low, high = duplicate_fraction(a, np.array([0.0, 0.999]))
    assert low == pytest.approx(5 / 6)
    assert high == 0.0


def test_saturation_averages_entries_beyond_two_over_layers() -> None:
    first = np.array([[[2.0, 2.1], [-2.1, 0.0]]])
    second = np.array([[[0.0, 0.0], [0.0, 0.0]]])
    np.testing.assert_allclose(saturation(np.stack([first, second], axis=1)), [0.25])


@pytest.mark.parametrize("library", [array_api_strict, torch])
def test_metrics_keep_to_the_array_api_standard(library: Any) -> None:
    z = np.random.default_rng(0).normal(size=(2, 3, 9, 4)) * 3
    threshold = np.array([[0.5], [0.9]])
    other = library.asarray(z)
    pairs = [
        (saturation(other), saturation(z)),
        (effective_rank(other), effective_rank(z)),
        (duplicate_fraction(other, library.asarray(threshold)), duplicate_fraction(z, threshold)),
    ]
    for ours, expected in pairs:
        np.testing.assert_allclose(np.asarray(ours), expected, rtol=1e-12)


def test_layers_can_be_computed_together() -> None:
    z = np.random.default_rng(0).normal(size=(2, 3, 9, 4))
    threshold = np.array([0.3, 0.6])
    for layer in range(3):
        alone = effective_rank(z[:, layer]), duplicate_fraction(z[:, layer], threshold)
        together = effective_rank(z)[:, layer], duplicate_fraction(z, threshold[:, None])[:, layer]
        np.testing.assert_allclose(together, alone, rtol=1e-12)


def test_stacking_and_unstacking_are_inverse() -> None:
    rng = np.random.default_rng(0)
    rows = [
        {name: rng.normal(size=values.shape) for name, values in undefined_metrics((3,), 5).items()} for _ in range(6)
    ]
    history = stack_metrics(rows)
    assert history["final_ce"].shape == (6, 3)
    assert history["effective_rank"].shape == (6, 3, 5)
    again = unstack_metrics(history)
    assert [list(row) for row in again] == [list(METRICS)] * 6
    assert all(np.array_equal(a[name], b[name]) for a, b in zip(rows, again, strict=True) for name in METRICS)


def test_every_metric_is_described() -> None:
    for metric in METRICS.values():
        assert metric.label
        assert metric.axis_label == (f"{metric.label} ({metric.unit})" if metric.unit else metric.label)
        assert metric.late_statistic in ("mean", "median")
    assert {name for name, metric in METRICS.items() if metric.per_layer} == set(LAYERED)
