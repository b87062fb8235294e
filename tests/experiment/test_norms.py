"""Normalisations against PyTorch's modules and in closed form; networks of a batch do not mix."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from lop_sweep.components import Components, Norm, check
from lop_sweep.components.choice import fit
from lop_sweep.config import NONE, CellConfig
from lop_sweep.errors import ConfigError
from lop_sweep.experiment import Experiment
from lop_sweep.registry import component, components

PYTORCH = {
    NONE: lambda width: torch.nn.Identity(),
    "layer_norm": lambda width: torch.nn.LayerNorm(width, elementwise_affine=False),
    "layer_norm_affine": lambda width: torch.nn.LayerNorm(width),
    "batch_norm": lambda width: torch.nn.BatchNorm1d(width, track_running_stats=False),
}
"""What each normalisation is called in PyTorch, written out here once more."""

every = pytest.mark.parametrize("name", PYTORCH)
shapes = pytest.mark.parametrize("shape", [(1, 10, 6), (3, 2, 7), (4, 5, 1), (2, 96, 100)], ids=str)


def normalise(norm: Norm, z: Any, parameters: dict[str, Any], error: Any) -> tuple[Any, Any, dict[str, Any]]:
    """Values and derivatives; the arguments keep their values."""
    values, kept = norm.forward(z.copy(), parameters)
    given = values.copy()
    below, gradients = norm.backward(error.copy(), parameters, kept)
    assert np.array_equal(values, given)  # the activation's input must survive the backward pass
    return given, below, gradients


def parameters_of(norm: Norm, z: Any, rng: np.random.Generator) -> dict[str, Any]:
    initial = norm.init(z[:, :1])
    return {name: (array + rng.normal(size=array.shape)).astype(z.dtype) for name, array in initial.items()}


def test_all_normalisations_are_tested_here() -> None:
    assert set(PYTORCH) == {name for name in components("norm") if not name.startswith("test_")}


@every
@shapes
@pytest.mark.parametrize("dtype", [np.float64, np.float32])
def test_values_and_derivatives_are_those_of_pytorch(name: str, shape: tuple[int, ...], dtype: Any) -> None:
    """For each network of a batch: values, and the derivatives by z, the scale and the shift."""
    rng, norm = np.random.default_rng(0), component("norm", name)
    z, error = ((2 * rng.normal(size=shape) + 3).astype(dtype) for _ in range(2))
    parameters = parameters_of(norm, z, rng)
    values, below, gradients = normalise(norm, z, parameters, error)
    assert {array.dtype for array in (values, below, *gradients.values())} == {np.dtype(dtype)}
    assert {name: array.shape for name, array in gradients.items()} == {n: a.shape for n, a in parameters.items()}
    tolerance = {"rtol": 1e-9, "atol": 1e-12} if dtype == np.float64 else {"rtol": 1e-3, "atol": 2e-3}
    for index in range(shape[0]):
        module = PYTORCH[name](shape[-1]).double()
        with torch.no_grad():
            for theirs, ours in zip(module.parameters(), parameters.values(), strict=True):
                theirs.copy_(torch.from_numpy(ours[index, 0]))
        points = torch.from_numpy(z[index].astype(np.float64)).requires_grad_()
        expected = module(points)
        expected.backward(torch.from_numpy(error[index].astype(np.float64)))
        np.testing.assert_allclose(values[index], expected.detach(), **tolerance)
        np.testing.assert_allclose(below[index], points.grad, **tolerance)
        for theirs, ours in zip(module.parameters(), gradients.values(), strict=True):
            np.testing.assert_allclose(ours[index, 0], theirs.grad, **tolerance)


@every
def test_the_reference_has_pytorchs_module(name: str) -> None:
    module = component("norm", name).torch(5, CellConfig())
    expected = PYTORCH[name](5)
    assert type(module) is type(expected)
    assert repr(module) == repr(expected)  # with all of its settings
    assert module.training


@pytest.mark.parametrize(("name", "axis"), [("layer_norm", -1), ("layer_norm_affine", -1), ("batch_norm", -2)])
def test_new_normalisations_have_mean_0_and_variance_1(name: str, axis: int) -> None:
    rng, norm = np.random.default_rng(0), component("norm", name)
    z = 100 * rng.normal(size=(3, 40, 30)) + 1000
    values, _ = norm.forward(z.copy(), norm.init(z[:, :1]))
    np.testing.assert_allclose(values.mean(axis=axis), 0, atol=1e-12)
    np.testing.assert_allclose(values.var(axis=axis), 1, rtol=1e-7)  # but for epsilon


def test_layer_norm_in_closed_form() -> None:
    z = np.array([[[1.0, 3.0]]])
    values, kept = component("norm", "layer_norm").forward(z, {})
    expected = 1 / np.sqrt(1 + 1e-5)
    np.testing.assert_allclose(values, [[[-expected, expected]]], rtol=1e-15)
    error, gradients = component("norm", "layer_norm").backward(np.array([[[1.0, 0.0]]]), {}, kept)
    slope = 0.5 * expected * (1 - expected**2)  # two points on a line: the derivative is that of epsilon alone
    np.testing.assert_allclose(error, [[[slope, -slope]]], rtol=1e-9)
    assert gradients == {}


@pytest.mark.parametrize("name", ["layer_norm", "layer_norm_affine", "batch_norm"])
def test_a_constant_is_normalised_to_zero(name: str) -> None:
    norm = component("norm", name)
    z = np.full((2, 7, 9), 0.3)
    values, below, _ = normalise(norm, z, norm.init(z[:, :1]), np.ones(z.shape))
    np.testing.assert_allclose(values, 0, atol=1e-12)
    assert np.isfinite(below).all()


@every
@shapes
@pytest.mark.parametrize("dtype", [np.float64, np.float32])
def test_networks_do_not_mix_to_the_bit(name: str, shape: tuple[int, ...], dtype: Any) -> None:
    rng, norm = np.random.default_rng(0), component("norm", name)
    z, error = (rng.normal(size=shape).astype(dtype) for _ in range(2))
    parameters = parameters_of(norm, z, rng)
    values, below, gradients = normalise(norm, z, parameters, error)
    for index in range(shape[0]):
        one = slice(index, index + 1)
        own = {name: array[one].copy() for name, array in parameters.items()}
        alone = normalise(norm, z[one], own, error[one])
        assert np.array_equal(values[one], alone[0])
        assert np.array_equal(below[one], alone[1])
        assert all(np.array_equal(gradients[name][one], alone[2][name]) for name in gradients)


def test_names_of_parameters_are_scale_and_shift() -> None:
    """Units that are replaced get a scale of one and a shift of zero."""
    z = np.full((2, 1, 3), 7.0)
    for name in ("layer_norm_affine", "batch_norm"):
        initial = component("norm", name).init(z)
        assert list(initial) == ["scale", "shift"]
        assert (initial["scale"] == 1).all()
        assert not initial["shift"].any()
    for name in (NONE, "layer_norm"):
        assert component("norm", name).init(z) == {}


def test_batch_norm_measures_with_the_points_that_it_is_given() -> None:
    """There are no running averages: held-out points are normalised by themselves."""
    config = CellConfig(width=6, depth=2, samples=10, steps=2, tasks=1, fresh_baseline=0, norm="batch_norm")
    module = Components.of(config).norm.torch(6, config)
    assert dict(module.named_buffers()) == {}
    module.eval()
    points = torch.randn(50, 6) * 3 + 5
    assert float(module(points).mean(dim=0).detach().abs().max()) < 1e-5
    tested = config.replace(metrics="test_ce", test_samples=20)
    assert np.isfinite(Experiment([tested]).run_task()["test_ce"]).all()


def test_batch_norm_refuses_single_points() -> None:
    config = CellConfig(norm="batch_norm", batch_size=1)
    message = "norm = 'batch_norm' needs at least two points per update, got batch_size = 1"
    with pytest.raises(ConfigError, match=message):
        check(config)
    with pytest.raises(ConfigError, match=message):
        fit([config.replace(batch_size=2), config])
    with pytest.raises(ConfigError, match=message):
        Experiment([config])
    check(config.replace(batch_size=2))
    check(config.replace(norm="layer_norm"))
