"""Activations against PyTorch's own functions, in closed form, at kinks and far from zero, and their slopes."""

from __future__ import annotations

import math
from typing import Any

import array_api_strict
import numpy as np
import pytest
import stateful_components  # noqa: F401
import torch
from scipy import special
from torch.nn import functional

from lop_sweep.array_api import erf
from lop_sweep.components import Activation, BaseActivation, layer_sizes
from lop_sweep.config import CellConfig
from lop_sweep.metrics import METRICS
from lop_sweep.registry import component, components

NAMES = list(components("activation"))
SMOOTH = ["tanh", "sigmoid", "erf", "identity", "gelu", "silu"]
PYTORCH = {
    "tanh": torch.tanh,
    "sigmoid": torch.sigmoid,
    "erf": torch.erf,
    "identity": lambda z: z,
    "relu": functional.relu,
    "leaky_relu": lambda z: functional.leaky_relu(z, 0.01),
    "crelu": lambda z: torch.cat([functional.relu(z), functional.relu(-z)], dim=-1),
    "elu": functional.elu,
    "selu": functional.selu,
    "gelu": functional.gelu,
    "silu": functional.silu,
}
"""What each activation is called in PyTorch, written out here once more."""

AT_ONE = {
    "tanh": (math.tanh(1), 1 / math.cosh(1) ** 2),
    "sigmoid": (1 / (1 + math.exp(-1)), math.exp(-1) / (1 + math.exp(-1)) ** 2),
    "erf": (math.erf(1), 2 / math.sqrt(math.pi) * math.exp(-1)),
    "identity": (1.0, 1.0),
    "relu": (1.0, 1.0),
    "leaky_relu": (1.0, 1.0),
    "elu": (1.0, 1.0),
    "selu": (1.0507009873554805, 1.0507009873554805),
    "gelu": (
        0.5 * math.erfc(-math.sqrt(0.5)),
        0.5 * math.erfc(-math.sqrt(0.5)) + math.exp(-0.5) / math.sqrt(2 * math.pi),
    ),
    "silu": (1 / (1 + math.exp(-1)), (1 + 2 * math.exp(-1)) / (1 + math.exp(-1)) ** 2),
}
AT_MINUS_ONE = {
    "tanh": (-math.tanh(1), 1 / math.cosh(1) ** 2),
    "sigmoid": (1 / (1 + math.e), math.e / (1 + math.e) ** 2),
    "erf": (-math.erf(1), 2 / math.sqrt(math.pi) * math.exp(-1)),
    "identity": (-1.0, 1.0),
    "relu": (0.0, 0.0),
    "leaky_relu": (-0.01, 0.01),
    "elu": (math.expm1(-1), math.exp(-1)),
    "selu": (1.7580993408473766 * math.expm1(-1), 1.7580993408473766 * math.exp(-1)),
    "gelu": (
        -0.5 * math.erfc(math.sqrt(0.5)),
        0.5 * math.erfc(math.sqrt(0.5)) - math.exp(-0.5) / math.sqrt(2 * math.pi),
    ),
    "silu": (-1 / (1 + math.e), 1 / (1 + math.e) * (1 - math.e / (1 + math.e))),
}

every = pytest.mark.parametrize("name", PYTORCH)


def backward(activation: Activation, error: Any, z: Any, a: Any) -> Any:
    return activation.backward(error, z if activation.keeps_z else None, a)


def test_all_activations_are_tested_here() -> None:
    assert set(PYTORCH) == {name for name in NAMES if not name.startswith("test_")}
    assert set(AT_ONE) == set(AT_MINUS_ONE) == set(PYTORCH) - {"crelu"}


@every
@pytest.mark.parametrize("dtype", [np.float64, np.float32])
def test_value_and_derivative_are_those_of_pytorch(name: str, dtype: Any) -> None:
    rng, activation = np.random.default_rng(0), component("activation", name)
    z = np.concatenate([rng.normal(size=(3, 200, 4)), 8 * rng.normal(size=(3, 200, 4))], axis=1).astype(dtype)
    a = activation.value(z)
    error = rng.normal(size=a.shape).astype(dtype)
    theirs = torch.from_numpy(z.copy()).requires_grad_()
    value = PYTORCH[name](theirs)
    value.backward(torch.from_numpy(error))
    ours = backward(activation, error.copy(), z, a)
    assert a.dtype == ours.dtype == dtype
    assert ours.shape == z.shape
    tolerance = {"rtol": 1e-13, "atol": 4e-15} if dtype == np.float64 else {"rtol": 2e-5, "atol": 2e-6}
    np.testing.assert_allclose(a, value.detach().numpy(), **tolerance)
    np.testing.assert_allclose(ours, theirs.grad, **tolerance)


@pytest.mark.parametrize("name", AT_ONE)
@pytest.mark.parametrize(("z", "known"), [(1.0, AT_ONE), (-1.0, AT_MINUS_ONE)])
def test_values_and_slopes_in_closed_form(name: str, z: float, known: dict[str, tuple[float, float]]) -> None:
    activation = component("activation", name)
    point = np.array([[[z]]])
    a = activation.value(point)
    assert float(a[0, 0, 0]) == pytest.approx(known[name][0], rel=1e-14, abs=1e-300)
    assert float(activation.slope(point, a)[0, 0, 0]) == pytest.approx(known[name][1], rel=1e-14, abs=1e-300)


def test_crelu_has_two_features_per_unit() -> None:
    activation = component("activation", "crelu")
    z = np.array([[2.0, -3.0, 0.0]])
    a = activation.value(z)
    assert a.tolist() == [[2.0, 0.0, 0.0, 0.0, 3.0, 0.0]]
    error = np.array([[5.0, 5.0, 5.0, 7.0, 7.0, 7.0]])
    assert activation.backward(error, None, a).tolist() == [[5.0, -7.0, 0.0]]
    assert activation.slope(z, a).tolist() == [[1.0, -1.0, 0.0]]


@every
@pytest.mark.parametrize("zero", [0.0, -0.0, 5e-324, -5e-324, 1e-310, 1e-40, -1e-40])
def test_derivatives_at_a_kink_are_those_of_pytorch(name: str, zero: float) -> None:
    """Subnormal numbers too, where a quotient of a and z would have lost digits."""
    activation = component("activation", name)
    z = np.full((1, 1, 2), zero)
    a = activation.value(z)
    theirs = torch.from_numpy(z.copy()).requires_grad_()
    value = PYTORCH[name](theirs)
    value.sum().backward()
    np.testing.assert_allclose(a, value.detach(), rtol=1e-15, atol=1e-320)
    np.testing.assert_allclose(activation.slope(z, a), theirs.grad, rtol=1e-15, atol=0)


LIMITS = {
    "tanh": ((-1.0, 0.0), (1.0, 0.0)),
    "sigmoid": ((0.0, 0.0), (1.0, 0.0)),
    "erf": ((-1.0, 0.0), (1.0, 0.0)),
    "relu": ((0.0, 0.0), (None, 1.0)),
    "elu": ((-1.0, 0.0), (None, 1.0)),
    "selu": ((-1.7580993408473766, 0.0), (None, 1.0507009873554805)),
    "gelu": ((0.0, 0.0), (None, 1.0)),
    "silu": ((0.0, 0.0), (None, 1.0)),
    "identity": ((None, 1.0), (None, 1.0)),
    "leaky_relu": ((None, 0.01), (None, 1.0)),
    "crelu": ((None, -1.0), (None, 1.0)),
}
"""Value and slope far below and far above zero; None where the value grows with z."""


@every
@pytest.mark.parametrize(("dtype", "sizes"), [(np.float64, (50.0, 1e3, 1e160, 1e300)), (np.float32, (50.0, 1e3, 1e30))])
def test_far_from_zero_nothing_overflows(name: str, dtype: Any, sizes: tuple[float, ...]) -> None:
    activation = component("activation", name)
    for side, sign in enumerate((-1, 1)):
        z = sign * np.array(sizes, dtype=dtype).reshape(1, -1, 1)
        with np.errstate(over="ignore"):  # of exp, whose infinity leads to the right limit
            a = activation.value(z)
            slope = activation.slope(z, a)
        value, expected = LIMITS[name][side]
        assert a.dtype == slope.dtype == dtype
        assert np.isfinite(a).all()
        if value is not None:
            np.testing.assert_allclose(
                a, np.full_like(a, value), rtol=1e-6 if dtype == np.float32 else 1e-15, atol=1e-18
            )
        np.testing.assert_allclose(
            slope, np.full_like(z, expected), rtol=2e-7 if dtype == np.float32 else 1e-15, atol=1e-18
        )


@every
def test_what_is_not_a_number_stays_so(name: str) -> None:
    """Otherwise a network that has diverged would look alive."""
    z = np.array([[[np.nan, 1.0]]])
    a = component("activation", name).value(z)
    assert np.isnan(a[..., 0]).all()
    assert np.isfinite(a[..., 1]).all()


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("library", [np, array_api_strict, torch], ids=["numpy", "strict", "torch"])
def test_a_slope_is_the_derivative_of_the_value(name: str, library: Any) -> None:
    """By central differences of the sum over features, on points away from kinks."""
    activation = component("activation", name)
    z = np.linspace(-3, 3, 40).reshape(2, 5, 4)
    there = library.asarray(z.copy())
    slope = np.asarray(activation.slope(there, activation.value(there)))

    def total(points: np.ndarray) -> np.ndarray:
        features = np.split(activation.value(points), activation.expansion, axis=-1)
        return np.sum(features, axis=0)

    step = 1e-5
    np.testing.assert_allclose(slope, (total(z + step) - total(z - step)) / (2 * step), rtol=1e-8, atol=1e-9)
    assert np.array_equal(np.asarray(there), z)


def test_the_default_slope_is_what_backward_makes_of_ones() -> None:
    class Cube(BaseActivation):
        def backward(self, error: Any, z: Any, a: Any) -> Any:
            return error * 3 * z * z

    z = np.array([[1.0, -2.0]])
    assert Cube().slope(z, z**3).tolist() == [[3.0, 12.0]]


@pytest.mark.parametrize("dtype", ["float64", "float32"])
def test_erf_is_exact_on_every_library(dtype: str) -> None:
    x = np.concatenate([np.linspace(-7, 7, 2001), [0.0, 1e-30, -30.0, 1e30]]).astype(dtype)
    expected = np.array([math.erf(float(value)) for value in x])
    rounding = 4 * np.finfo(dtype).eps
    for library in (np, array_api_strict, torch):
        ours = erf(library.asarray(x))
        assert type(ours) is type(library.asarray(x))
        assert np.asarray(ours).dtype == dtype
        np.testing.assert_allclose(np.asarray(ours), expected, rtol=rounding, atol=0)
    assert np.array_equal(erf(x), special.erf(x))


@every
def test_a_gain_is_pytorchs_where_it_has_one(name: str) -> None:
    known = {"tanh": "tanh", "sigmoid": "sigmoid", "identity": "linear", "relu": "relu", "selu": "selu"}
    gain = component("activation", name).gain
    if name in known:
        assert gain == pytest.approx(torch.nn.init.calculate_gain(known[name]), rel=1e-15)
    elif name == "leaky_relu":
        assert gain == pytest.approx(torch.nn.init.calculate_gain("leaky_relu", 0.01), rel=1e-15)
    elif name == "erf":
        assert gain == component("activation", "tanh").gain
    else:
        assert gain == pytest.approx(torch.nn.init.calculate_gain("relu"), rel=1e-15)


def test_crelu_with_the_gain_of_relu_keeps_the_size_of_pre_activations() -> None:
    """[max(z, 0), max(-z, 0)] has as much energy as z on twice the fan-in."""
    config = CellConfig(activation="crelu", width=2000, depth=2)
    fan_in, fan_out = layer_sizes(config).pairs()[1]
    assert (fan_in, fan_out) == (4000, 2000)
    rng, activation = np.random.default_rng(0), component("activation", "crelu")
    weights, _ = component("init", "kaiming_normal").draw(rng, fan_in, fan_out, activation.gain)
    z = activation.value(rng.normal(size=(20, 2000))) @ weights
    assert float(z.std()) == pytest.approx(1, abs=0.02)


def test_sizes_of_layers_follow_the_activation() -> None:
    plain, doubled = (layer_sizes(CellConfig(width=6, depth=3, activation=name)) for name in ("relu", "crelu"))
    assert plain.pairs() == [(4, 6), (6, 6), (6, 6), (6, 1)]
    assert doubled.pairs() == [(4, 6), (12, 6), (12, 6), (12, 1)]
    for sizes in (plain, doubled):
        assert sizes.weights == sum(fan_in * fan_out for fan_in, fan_out in sizes.pairs())
        assert sizes.biases == sum(fan_out for _, fan_out in sizes.pairs())


def test_bounds_of_metrics_follow_the_number_of_features() -> None:
    plain, doubled = (CellConfig(width=6, samples=10, activation=name) for name in ("relu", "crelu"))
    high = {config: {name: metric.bounds(config)[1] for name, metric in METRICS.items()} for config in (plain, doubled)}
    assert high[plain]["duplicate_fraction"] == 5 / 6
    assert high[doubled]["duplicate_fraction"] == 11 / 12
    assert [high[config]["srank"] for config in (plain, doubled)] == [6, 10]
    assert [high[config]["activation_effective_rank"] for config in (plain, doubled)] == [6, 10]
    assert [high[config]["effective_rank"] for config in (plain, doubled)] == [6, 6]
    single = CellConfig(width=1, activation="crelu")
    assert METRICS["duplicate_fraction_any"].bounds(single) == (0, 1)
    unknown = plain.replace(activation="of_another_machine")
    assert METRICS["srank"].bounds(unknown) == (1, 10)
    assert METRICS["duplicate_fraction"].bounds(unknown) == (0, 1)
