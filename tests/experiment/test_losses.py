"""Losses against closed forms and PyTorch's own: values, accuracies, and the loss of guessing."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from lop_sweep.components import Loss
from lop_sweep.registry import component, components

SOFTMAX, REGRESSION = (component("loss", name) for name in ("softmax", "regression"))
LOSSES = sorted(components("loss"))


def targets(name: str, shape: tuple[int, int, int], rng: np.random.Generator) -> np.ndarray:
    """Targets (P, n, k) as a loss takes them."""
    if name == "regression":
        return rng.normal(size=shape)
    if shape[-1] == 1:
        return rng.integers(0, 2, size=shape).astype(float)
    return np.eye(shape[-1])[rng.integers(0, shape[-1], size=shape[:2])]


def test_softmax_in_closed_form_and_without_overflow() -> None:
    logits = np.array([[0, 0, 0, 0], [1000, 0, 0, 0], [1000, 0, 0, 0], [-1000, -1000, 0, -1000], [np.log(3), 0, 0, 0]])
    labels = np.eye(4)[[2, 0, 3, 2, 0]]
    each = [SOFTMAX.value(logits[None, i : i + 1].astype(float), labels[None, i : i + 1])[0] for i in range(5)]
    np.testing.assert_allclose(each, [np.log(4), 0, 1000, 0, np.log(2)], rtol=1e-15, atol=1e-300)
    assert SOFTMAX.value(logits[None].astype(float), labels[None])[0] == pytest.approx(np.mean(each))
    assert np.isfinite(SOFTMAX.error(logits[None].astype(float), labels[None])).all()


def test_squared_error_is_a_mean_over_points_and_outputs_without_one_half() -> None:
    logits, y = np.array([[[1.0, 2.0], [3.0, 4.0], [0.0, 0.0]]]), np.array([[[0.0, 0.0], [0.0, 0.0], [0.0, 6.0]]])
    assert REGRESSION.value(logits, y)[0] == (1 + 4 + 9 + 16 + 36) / 6
    np.testing.assert_array_equal(REGRESSION.error(logits, y), (logits - y) / 3)


@pytest.mark.parametrize(("name", "outputs"), [("binary", 1), ("softmax", 3), ("softmax", 10), ("regression", 2)])
def test_values_derivatives_and_accuracies_are_those_of_pytorch(name: str, outputs: int) -> None:
    rng, loss = np.random.default_rng(0), component("loss", name)
    logits = rng.normal(size=(4, 200, outputs)) * 5
    y = targets(name, logits.shape, rng)
    for index in range(len(logits)):
        theirs = torch.from_numpy(logits[index]).requires_grad_()
        value = loss.torch()(theirs, torch.from_numpy(y[index]))
        value.backward()
        assert loss.value(logits, y)[index] == pytest.approx(value.item(), rel=1e-14)
        assert theirs.grad is not None
        np.testing.assert_allclose(loss.error(logits, y)[index], theirs.grad, rtol=1e-12, atol=1e-17)
        accuracy = loss.torch_accuracy(theirs.detach(), torch.from_numpy(y[index])).item()
        np.testing.assert_equal(loss.accuracy(logits, y)[index], accuracy)
        assert np.isnan(accuracy) if name == "regression" else 0 < accuracy < 1


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("name", LOSSES)
def test_networks_of_a_batch_do_not_share_a_bit(name: str, dtype: type) -> None:
    rng, loss = np.random.default_rng(1), component("loss", name)
    for outputs in (1,) if name == "binary" else (1, 3, 10):
        logits = rng.normal(size=(5, 6, 1, outputs)).repeat(33, axis=2).astype(dtype) * 3
        logits += rng.normal(size=logits.shape).astype(dtype)
        y = targets(name, logits.shape[1:], rng).astype(dtype)
        value, error = loss.value(logits, y), loss.error(logits[0], y)
        assert value.dtype == error.dtype == dtype
        assert loss.accuracy(logits[0], y).dtype == np.float64
        for index in range(logits.shape[1]):
            one = slice(index, index + 1)
            assert loss.value(logits[:, one].copy(), y[one].copy()).tobytes() == value[:, one].tobytes()
            assert loss.error(logits[0, one].copy(), y[one].copy()).tobytes() == error[one].tobytes()


@pytest.mark.parametrize(("name", "outputs"), [("binary", 1), ("softmax", 2), ("softmax", 10)])
def test_guessing_costs_the_level_of_chance(name: str, outputs: int) -> None:
    """No constant prediction is better than equal probabilities if classes are equally frequent."""
    loss: Loss = component("loss", name)
    y = np.repeat(np.eye(outputs), 3, axis=0)[None] if outputs > 1 else np.array([0.0, 1.0, 0.0, 1.0])[None, :, None]
    chance = loss.chance(outputs)
    assert loss.value(np.zeros(y.shape), y)[0] == pytest.approx(chance, rel=1e-15)
    for constant in np.random.default_rng(0).normal(size=(50, outputs)):
        assert loss.value(np.broadcast_to(constant, y.shape).copy(), y)[0] > chance


def test_squared_error_has_no_level_of_chance() -> None:
    assert REGRESSION.chance(1) == np.inf
