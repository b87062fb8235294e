"""The kernel against its closed form, its gradients against finite differences."""

from __future__ import annotations

import numpy as np
import pytest

from analysis.surface.kernel import MEAN_SD, Kernel
from analysis.surface.scaling import scaling_of
from lop_sweep.errors import AnalysisError


def squares_of(points: np.ndarray) -> np.ndarray:
    return ((points[:, None] - points[None]) ** 2).transpose(2, 0, 1)


def test_value_is_the_closed_form() -> None:
    h, length, amplitude = 0.37, 0.6, 1.7
    r = h / length
    matern = (1 + 5**0.5 * r + 5 * r**2 / 3) * np.exp(-(5**0.5) * r)
    found = Kernel(amplitude, np.array([length]))(np.array([[[h * h]]]))
    assert found[0, 0] == pytest.approx(MEAN_SD**2 + amplitude**2 * matern, rel=1e-14)


@pytest.mark.parametrize("axes", [1, 2, 3, 4])
def test_matrix_is_positive_definite_with_the_prior_variance(axes: int) -> None:
    points = np.random.default_rng(axes).random((15, axes))
    kernel = Kernel(2.0, np.linspace(0.2, 1.5, axes))
    K = kernel(squares_of(points))
    assert np.diag(K) == pytest.approx(kernel.variance)
    assert np.linalg.eigvalsh(K).min() > 0


def test_gradients_are_finite_differences() -> None:
    points = np.random.default_rng(0).random((6, 3))
    logs = np.log([1.3, 0.3, 0.7, 2.0])

    def value(at: np.ndarray) -> np.ndarray:
        return Kernel(float(np.exp(at[0])), np.exp(at[1:]))(squares_of(points))

    found = Kernel(float(np.exp(logs[0])), np.exp(logs[1:])).gradients(squares_of(points))
    for parameter, direction in enumerate(np.eye(4) * 1e-6):
        expected = (value(logs + direction) - value(logs - direction)) / 2e-6
        np.testing.assert_allclose(found[parameter], expected, atol=1e-8)


def test_axes_are_scaled_and_categories_only_differ() -> None:
    scaling = scaling_of([[0.01, 2, 7], [1.0, 4, 9], [0.1, 3, 30]], ("log", "linear", "category"))
    coordinates = scaling.coordinates([[0.1, 3, 30], [1.0, 2, 7]])
    np.testing.assert_allclose(coordinates[:, :2], [[0.5, 0.5], [1, 0]])
    squares = scaling.squares(coordinates, coordinates)
    np.testing.assert_allclose(squares[2], [[0, 1], [1, 0]])


@pytest.mark.parametrize(
    ("points", "scales", "message"),
    [
        ([[1.0, 2.0]], ("log",), "one scale per axis"),
        ([[1.0]], ("cubic",), "choose from: linear, log, category"),
        ([[0.0], [1.0]], ("log",), "must be positive on a logarithmic axis, got 0 on axis 0"),
        ([[np.nan], [1.0]], None, "must be finite"),
        ([1.0, 2.0], None, "must have shape"),
        (np.ones((3, 5)), None, "d from 1 to 4"),
        (np.ones((0, 2)), None, "N > 0"),
    ],
)
def test_axes_that_cannot_be_used_are_refused(points: object, scales: tuple[str, ...] | None, message: str) -> None:
    with pytest.raises(AnalysisError, match=message):
        scaling_of(points, scales)  # type: ignore[arg-type]
