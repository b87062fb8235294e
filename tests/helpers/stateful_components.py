"""Components that use all of the interfaces.

An optimizer and a stream with state, an activation that reads z, one with two features per unit, and a normalisation
with parameters.

Importing this module registers them. They are small on purpose: what they test is the interfaces.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import torch

from lop_sweep.array_api import Array, array_namespace
from lop_sweep.components import BaseActivation, Role, Task
from lop_sweep.config import CellConfig
from lop_sweep.registry import register


@register("optimizer", "test_momentum")
class Momentum:
    """v <- 0.9 v + dW; W <- W - lr v. Its state is v."""

    name: str
    hyper = ("lr",)

    def init(self, parameter: Array, role: Role) -> dict[str, Array]:
        return {"velocity": array_namespace(parameter).zeros_like(parameter)}

    def update(
        self, parameter: Array, gradient: Array, state: dict[str, Array], hyper: Mapping[str, Any], role: Role
    ) -> None:
        velocity = state["velocity"]
        velocity *= 0.9
        velocity += gradient
        parameter -= hyper["lr"] * velocity

    def torch(self, network: torch.nn.Module, config: CellConfig) -> torch.optim.Optimizer:
        return torch.optim.SGD(network.parameters(), lr=config.lr, momentum=0.9)


@register("activation", "test_silu")
class SiLU(BaseActivation):
    """z sigmoid(z), whose derivative needs z."""

    def value(self, z: Array) -> Array:
        return z / (1 + array_namespace(z).exp(-z))

    def backward(self, error: Array, z: Array | None, a: Array) -> Array:
        assert z is not None
        p = 1 / (1 + array_namespace(z).exp(-z))
        return error * (p + a * (1 - p))

    def torch(self) -> Callable[[torch.Tensor], torch.Tensor]:
        return torch.nn.functional.silu


@register("activation", "test_halves")
class Halves:
    """Two features per unit, the positive and the negative part of z."""

    name: str
    hyper: tuple[str, ...] = ()
    expansion = 2
    keeps_z = True

    def value(self, z: Array) -> Array:
        xp = array_namespace(z)
        zero = xp.zeros_like(z)
        return xp.concat([xp.where(z > 0, z, zero), xp.where(z < 0, -z, zero)], axis=-1)

    def backward(self, error: Array, z: Array | None, a: Array) -> Array:
        assert z is not None
        width = z.shape[-1]
        return array_namespace(z).where(z > 0, error[..., :width], -error[..., width:])

    def torch(self) -> Callable[[torch.Tensor], torch.Tensor]:
        return lambda z: torch.cat([torch.relu(z), torch.relu(-z)], dim=-1)


@register("norm", "test_affine")
class Affine:
    """scale * z + shift, per unit."""

    name: str
    hyper: tuple[str, ...] = ()

    def init(self, z: Array) -> dict[str, Array]:
        xp = array_namespace(z)
        return {"scale": xp.ones_like(z), "shift": xp.zeros_like(z)}

    def forward(self, z: Array, parameters: dict[str, Array]) -> tuple[Array, Any]:
        return parameters["scale"] * z + parameters["shift"], z

    def backward(self, error: Array, parameters: dict[str, Array], kept: Any) -> tuple[Array, dict[str, Array]]:
        xp = array_namespace(error)
        shift = xp.sum(error, axis=-2, keepdims=True)
        scale = xp.sum(error * kept, axis=-2, keepdims=True)
        return parameters["scale"] * error, {"scale": scale, "shift": shift}

    def torch(self, width: int, config: CellConfig) -> torch.nn.Module:
        return AffineModule(width)


class AffineModule(torch.nn.Module):
    """The reference's counterpart of `Affine`."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.weight, self.bias = torch.nn.Parameter(torch.ones(width)), torch.nn.Parameter(torch.zeros(width))

    def forward(self, z: torch.Tensor) -> torch.Tensor:
        return self.weight * z + self.bias


@register("stream", "test_drift")
class Drift:
    """One task whose points drift. Its state is where they are and how many tasks were drawn."""

    name: str
    hyper = ("input_dim",)
    loss = "binary"

    def dimensions(self, config: CellConfig) -> tuple[int, int]:
        return config.input_dim, 1

    def init(self, config: CellConfig, rng: np.random.Generator) -> dict[str, Any]:
        return {"points": rng.normal(size=(config.samples, config.input_dim)), "drawn": 0}

    def draw(self, config: CellConfig, state: dict[str, Any], rng: np.random.Generator) -> Task:
        state["points"] += 0.1 * rng.normal(size=(config.samples, config.input_dim))
        state["drawn"] += 1
        labels = np.repeat([0.0, 1.0], config.samples // 2)[:, None]
        return Task(state["points"].copy(), labels)

    def held_out(self, config: CellConfig, task: Task, rng: np.random.Generator) -> Task:
        index = rng.integers(config.samples, size=config.test_samples)
        return Task(task.points[index] + 0.1 * rng.normal(size=(len(index), config.input_dim)), task.labels[index])
