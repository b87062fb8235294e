"""Components that use all of the interfaces: an optimizer and a stream with state, and an activation that reads z.

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


@register("optimizer", "test_momentum", version="1")
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


@register("activation", "test_silu", version="1")
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


@register("stream", "test_drift", version="1")
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
