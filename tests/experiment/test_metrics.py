"""The metrics: closed forms, the plain formulas as oracles, edge cases, and the array API standard."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import array_api_strict
import numpy as np
import pytest
import torch
from hypothesis import assume, given
from hypothesis import strategies as st

from lop_sweep.config import CellConfig
from lop_sweep.errors import ConfigError
from lop_sweep.experiment import Experiment
from lop_sweep.metrics import (
    LAYERED,
    METRICS,
    activation_effective_rank,
    duplicate_fraction,
    duplicate_fraction_any,
    effective_rank,
    measured,
    measured_with,
    root_mean_square,
    saturation,
    srank,
    stack_metrics,
    undefined_metrics,
    unstack_metrics,
)
from lop_sweep.planning import SearchSpace

CONFIG = CellConfig(depth=5, metrics=["srank", "logit_scale"])


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
        {name: rng.normal(size=values.shape) for name, values in undefined_metrics((3,), CONFIG).items()}
        for _ in range(6)
    ]
    history = stack_metrics(rows)
    assert history["final_ce"].shape == (6, 3)
    assert history["effective_rank"].shape == (6, 3, 5)
    again = unstack_metrics(history)
    assert [tuple(row) for row in again] == [measured(CONFIG)] * 6
    assert all(np.array_equal(a[name], b[name]) for a, b in zip(rows, again, strict=True) for name in a)


def test_every_metric_is_described() -> None:
    for metric in METRICS.values():
        assert metric.label
        assert metric.axis_label == (f"{metric.label} ({metric.unit})" if metric.unit else metric.label)
        assert metric.late_statistic in ("mean", "median")
    assert {name for name in measured_with() if METRICS[name].per_layer} == set(LAYERED)


def test_a_cell_measures_what_every_cell_does_and_what_it_names() -> None:
    assert measured(CellConfig()) == measured_with()
    assert not any(METRICS[name].optional for name in measured_with())
    assert measured(CONFIG) == (*measured_with(), "srank", "logit_scale")
    assert measured_with("srank", "", "logit_scale,test_ce") == (*measured(CONFIG), "test_ce")


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"metrics": "shrank"}, r"metrics = shrank: there is no such metric; choose from: activation_effective_rank, "),
        ({"metrics": "end_ce"}, r"metrics = end_ce: every cell measures it; choose from: "),
        (
            {"test_samples": 10, "metrics": "srank"},
            r"test_samples = 10: nothing is measured on held-out points; name test_ce, test_accuracy in metrics",
        ),
    ],
)
def test_what_cannot_be_measured_is_refused(fields: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        measured(CellConfig(**fields))
    with pytest.raises(ConfigError, match=message):
        SearchSpace({**fields, "depth": 2})
    with pytest.raises(ConfigError, match=message):
        Experiment([CellConfig(**fields)])


def with_singular_values(values: Sequence[float], n: int, h: int) -> np.ndarray:
    rng = np.random.default_rng(0)
    left, right = (np.linalg.qr(rng.normal(size=(size, len(values))))[0] for size in (n, h))
    return (left * values) @ right.T


@pytest.mark.parametrize("shape", [(9, 5), (5, 9), (6, 6)])
def test_ranks_of_known_singular_values(shape: tuple[int, int]) -> None:
    values = [4.0, 2.0, 1.0, 1.0]
    p = np.array(values) / 8
    a = 1e200 * with_singular_values(values, *shape)
    assert activation_effective_rank(a) == pytest.approx(np.exp(-(p * np.log(p)).sum()))
    assert srank(a) == 4
    assert srank(with_singular_values([0.5, 0.495, 0.005 - 1e-9, 1e-9], *shape)) == 2
    assert srank(with_singular_values([1.0, 0.0102], *shape)) == 2
    assert srank(with_singular_values([1.0, 0.01], *shape)) == 1
    assert srank(np.eye(300)) == 297


def test_ranks_of_features_that_are_zero() -> None:
    for metric in (activation_effective_rank, srank):
        assert np.array_equal(metric(np.zeros((2, 4, 6))), [1.0, 1.0])


def test_a_constant_with_rounding_noise_has_one_direction() -> None:
    """Centred, only the noise is left, of which `effective_rank` makes a high rank."""
    a = 0.7 + 1e-13 * np.random.default_rng(0).normal(size=(96, 100))
    assert effective_rank(a) > 50
    assert activation_effective_rank(a) == pytest.approx(1, abs=1e-9)
    assert srank(a) == 1


def test_every_copy_has_a_duplicate_whatever_the_order() -> None:
    rng = np.random.default_rng(0)
    a = rng.normal(size=(40, 6))
    a[:, 3], a[:, 5] = -2 * a[:, 0], a[:, 1] + 1e-3 * rng.normal(size=40)
    threshold = np.array(0.95)
    for _ in range(5):
        assert duplicate_fraction_any(a, threshold) == pytest.approx(4 / 6)
        assert duplicate_fraction(a, threshold) == pytest.approx(2 / 6)
        a = rng.permutation(a, axis=1)
    assert duplicate_fraction_any(np.ones((4, 3)), threshold) == 0


def test_the_scale_of_logits_does_not_overflow() -> None:
    logits = np.array([[[3.0], [-4.0]], [[1e300], [1e300]], [[0.0], [0.0]]])
    np.testing.assert_allclose(root_mean_square(logits), [12.5**0.5, 1e300, 0])
