"""The contract as users call it on components of their own: it holds for what is right, and says what is wrong."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from own_space import own_space

from lop_sweep import load_space, register
from lop_sweep.array_api import Array, array_namespace
from lop_sweep.components import BaseActivation, BaseMitigation, Networks, ReferenceMitigation, Task
from lop_sweep.components.optimizers.gradient_descent import GradientDescent
from lop_sweep.config import CellConfig
from lop_sweep.errors import ConfigError
from lop_sweep.metrics import METRICS, Observation, OptionalMetric
from lop_sweep.registry import components, isolated
from lop_sweep.testing import check_component


@pytest.fixture(autouse=True)
def apart() -> Iterator[None]:
    with isolated():
        yield


@pytest.mark.parametrize("name", ["own_relu", "own_momentum", "own_noise", "own_drift", "own_mean", "own_share"])
def test_components_of_a_space_keep_to_the_contract(name: str, tmp_path: Path) -> None:
    load_space(own_space(tmp_path / "own.py"))
    check_component(name)


@pytest.mark.parametrize("name", ["tanh", "xavier_normal", "sgd", "binary", "gaussian_mixture", "saturation"])
def test_built_in_components_do_too(name: str) -> None:
    check_component(name)


class Sine(BaseActivation):
    """sin z, with f'(z) = cos z."""

    def value(self, z: Array) -> Array:
        return array_namespace(z).sin(z)

    def backward(self, error: Array, z: Array | None, a: Array) -> Array:
        return error * array_namespace(z).cos(z)

    def torch(self) -> Callable[[torch.Tensor], torch.Tensor]:
        return torch.sin


class Growing(BaseActivation):
    """z^2: networks of several layers diverge."""

    def value(self, z: Array) -> Array:
        return z * z

    def backward(self, error: Array, z: Array | None, a: Array) -> Array:
        return 2 * error * z

    def torch(self) -> Callable[[torch.Tensor], torch.Tensor]:
        return torch.square


def test_a_class_or_an_instance_is_checked_under_all_its_names() -> None:
    check_component(Sine, kind="activation")
    assert "Sine" not in components("activation")
    with pytest.raises(ConfigError, match="is not registered; register it, or give its class and its kind: activation"):
        check_component(Sine)
    register("activation", "sine", version="1")(Sine)
    check_component(Sine)
    check_component(components("activation")["sine"])
    with pytest.raises(ConfigError, match="nothing: is not registered"):
        check_component("nothing")
    with pytest.raises(ConfigError, match="weight_decay = -1"):
        check_component("sgd", weight_decay=-1)
    check_component("sgd", weight_decay=0.1, lr=0.01)


class WrongGradient(Sine):
    def backward(self, error: Array, z: Array | None, a: Array) -> Array:
        return 2 * super().backward(error, z, a)


class WrongReference(Sine):
    """Engine and its differences agree with each other, but not with the reference."""

    def torch(self) -> Callable[[torch.Tensor], torch.Tensor]:
        return torch.tanh


class Overwriting(Sine):
    def value(self, z: Array) -> Array:
        z *= z
        return super().value(z)


class Promoting(Sine):
    def value(self, z: Array) -> Array:
        return super().value(z) * np.ones(1)


class BeyondTheStandard(Sine):
    def value(self, z: Array) -> Array:
        return np.sin(z)


class Remembering(Sine):
    """An instance that keeps what it has seen depends on the other cells of the process."""

    def __init__(self) -> None:
        self.calls = 0.0

    def value(self, z: Array) -> Array:
        self.calls += 1e-7
        return super().value(z) + self.calls


class Replacing(GradientDescent):
    """Its state is another array after each update."""

    def init(self, parameter: Array, role: Any) -> dict[str, Array]:
        return {"v": array_namespace(parameter).zeros_like(parameter)}

    def update(
        self, parameter: Array, gradient: Array, state: dict[str, Array], hyper: Mapping[str, Any], role: Any
    ) -> None:
        state["v"] = state["v"] + gradient
        super().update(parameter, gradient, state, hyper, role)


class Mixing(GradientDescent):
    """Networks of a batch share what only one of them should have."""

    def update(
        self, parameter: Array, gradient: Array, state: dict[str, Array], hyper: Mapping[str, Any], role: Any
    ) -> None:
        gradient += 1e-3 * array_namespace(gradient).mean(parameter)
        super().update(parameter, gradient, state, hyper, role)


class TooLarge(OptionalMetric):
    label = "too large"

    def compute(self, task: Observation) -> Array:
        return 2 * task.end_loss

    def bounds(self, config: CellConfig) -> tuple[float, float]:
        return 0.0, 1.0


class WrongShape(OptionalMetric):
    label, per_layer = "wrong shape", True

    def compute(self, task: Observation) -> Array:
        return task.end_loss


class Forgetful(BaseMitigation):
    """Its reference does nothing."""

    def after_step(self, networks: Networks, state: Any, hyper: Mapping[str, Any]) -> None:
        networks.weights[0] *= 0.9

    def torch(self, network: Any, config: CellConfig) -> ReferenceMitigation:
        return ReferenceMitigation()


class Global:
    """A stream that draws from NumPy's global generator."""

    hyper: tuple[str, ...] = ("input_dim",)
    loss = "binary"

    def dimensions(self, config: CellConfig) -> tuple[int, int]:
        return config.input_dim, 1

    def init(self, config: CellConfig, rng: np.random.Generator) -> dict[str, Any]:
        return {}

    def draw(self, config: CellConfig, state: dict[str, Any], rng: np.random.Generator) -> Task:
        points = np.random.normal(size=(config.samples, config.input_dim))
        return Task(points, np.repeat([0.0, 1.0], config.samples // 2)[:, None])

    def held_out(self, config: CellConfig, task: Task, rng: np.random.Generator) -> Task:
        return self.draw(config.replace(samples=config.test_samples), {}, rng)


class Incomplete:
    hyper = ()


@pytest.mark.parametrize(
    ("kind", "cls", "message"),
    [
        ("activation", WrongGradient, "gradients are those of PyTorch's autograd"),
        ("activation", WrongReference, "gradients are those of PyTorch's autograd"),
        ("activation", Overwriting, r"(?s)does not change z.*`value` changed z"),
        ("activation", Promoting, "Networks in float32 are trained in float32"),
        ("activation", BeyondTheStandard, "The same source runs on the arrays of another library"),
        ("activation", Remembering, "gradients are"),
        ("activation", Growing, "the small cell diverged"),
        ("activation", Incomplete, "It failed with AttributeError"),
        ("optimizer", Replacing, "(?s)changes its arrays in place.*v was replaced by another array"),
        ("optimizer", Mixing, "(?s)networks of a batch do not affect.*depends on the others of its batch"),
        ("metric", TooLarge, "(?s)values within its bounds.*are not within 0.0 and 1.0"),
        ("metric", WrongShape, "A metric has the shape that `per_layer` says"),
        ("mitigation", Forgetful, "The engine and the plain PyTorch reference compute the same"),
        ("stream", Global, "depend on nothing but the generator"),
    ],
)
def test_what_is_wrong_is_said(kind: str, cls: type, message: str) -> None:
    with pytest.raises(AssertionError, match=message) as error:
        check_component(cls, kind=kind)
    assert str(error.value).startswith(f"{kind} '{cls.__name__}': ")
    assert cls.__name__ not in METRICS
