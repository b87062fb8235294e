"""A search space with components of its own: an activation, an optimizer, a mitigation, a stream and two metrics."""

from __future__ import annotations

from pathlib import Path

COMPONENTS = '''
import numpy as np
from ray import tune
from lop_sweep import register
from lop_sweep.array_api import array_namespace
from lop_sweep.components import BaseActivation, BaseMitigation, ReferenceMitigation, Task
from lop_sweep.metrics import OptionalMetric

FACTOR = 0.1


def leaky(z):
    return array_namespace(z).where(z > 0, z, FACTOR * z)


@register("activation", "own_relu", version="VERSION")
class Leaky(BaseActivation):
    """max(z, z / 10), by a function of the file."""

    def value(self, z):
        return leaky(z)

    def backward(self, error, z, a):
        return array_namespace(z).where(z > 0, error, FACTOR * error)

    def torch(self):
        from torch import nn

        return nn.LeakyReLU(FACTOR)


@register("optimizer", "own_momentum", version="1")
class Momentum:
    """v <- 0.9 v + dW; W <- W - lr v. Its state is v."""

    hyper = ("lr",)

    def init(self, parameter, role):
        return {"velocity": array_namespace(parameter).zeros_like(parameter)}

    def update(self, parameter, gradient, state, hyper, role):
        state["velocity"] *= 0.9
        state["velocity"] += gradient
        parameter -= hyper["lr"] * state["velocity"]

    def torch(self, network, config):
        import torch

        return torch.optim.SGD(network.parameters(), lr=config.lr, momentum=0.9)


@register("mitigation", "own_noise", version="1")
class Noise(BaseMitigation):
    """After each task, normal noise with a standard deviation of 0.01 is added to the output weights."""

    graphable = False

    def after_task(self, networks, state, hyper, number):
        networks.weights[-1] += 0.01 * networks.draws.normal(tuple(networks.weights[-1].shape[1:]))

    def torch(self, network, config):
        return ReferenceNoise(network)


class ReferenceNoise(ReferenceMitigation):
    def __init__(self, network):
        self.weight = network.layers()[-1].weight

    def after_task(self, features, optimizer, draws, number):
        self.weight += 0.01 * draws.normal((self.weight.shape[1], self.weight.shape[0])).T


@register("stream", "own_drift", version="1")
class Drift:
    """One task whose points drift. Its state is where they are."""

    hyper = ("input_dim",)
    loss = "binary"

    def dimensions(self, config):
        return config.input_dim, 1

    def init(self, config, rng):
        return {"points": rng.normal(size=(config.samples, config.input_dim))}

    def draw(self, config, state, rng):
        state["points"] += 0.1 * rng.normal(size=(config.samples, config.input_dim))
        return Task(state["points"].copy(), np.repeat([0.0, 1.0], config.samples // 2)[:, None])

    def held_out(self, config, task, rng):
        index = rng.integers(config.samples, size=config.test_samples)
        return Task(task.points[index], task.labels[index])


@register("metric", "own_mean", version="1")
class Mean(OptionalMetric):
    """Mean |a| of each hidden layer."""

    label, per_layer = "mean activation", True

    def compute(self, task):
        xp = array_namespace(task.post)
        return xp.mean(xp.abs(task.post), axis=(-2, -1))


@register("metric", "own_share", version="1")
class Share(OptionalMetric):
    """Share of activations above zero."""

    label, unit = "own share", "share"

    def compute(self, task):
        xp = array_namespace(task.post)
        return xp.mean(xp.astype(task.post > 0, xp.float64), axis=(-3, -2, -1))

    def bounds(self, config):
        return 0.0, 1.0
'''

SPACE = """
CHOICE = {"optimizer": "own_momentum", "mitigation": "own_noise", "stream": "own_drift"}
param_space = {
    **CHOICE, "activation": tune.grid_search(["tanh", "own_relu"]), "metrics": ["own_mean", "own_share"],
    "lr": tune.grid_search([0.02, 0.05]), "seed": tune.grid_search([1, 2]), "width": 6, "depth": 2, "samples": 12,
    "steps": STEPS, "tasks": TASKS, "fresh_baseline": 2,
}
pack = ["seed"]
"""


NEIGHBOURED = """
from ray import tune
import helper
from helper import RATES

param_space = {
    "activation": "neighbour_relu", "lr": tune.grid_search(helper.RATES), "width": 6, "depth": 2, "samples": 12,
    "steps": 5, "tasks": 3, "fresh_baseline": 2,
}
pack = ["seed"]
"""

NEIGHBOUR = """
from lop_sweep import register
from lop_sweep.components import BaseActivation
from lop_sweep.array_api import array_namespace
from deeper.still import SLOPE

RATES = [0.1, 0.2]


def leaky(z):
    return array_namespace(z).where(z > 0, z, SLOPE * z)


@register("activation", "neighbour_relu", version="1")
class Leaky(BaseActivation):
    def value(self, z):
        return leaky(z)

    def backward(self, error, z, a):
        return array_namespace(z).where(z > 0, error, SLOPE * error)
"""


def space_with_neighbours(folder: Path, slope: float) -> Path:
    """Write a search space of 2 cells whose activation is in a module beside it, with its slope in a package there."""
    (folder / "deeper").mkdir(parents=True)
    (folder / "deeper" / "__init__.py").touch()
    (folder / "deeper" / "still.py").write_text(f"SLOPE = {slope}\n")
    (folder / "helper.py").write_text(NEIGHBOUR)
    (folder / "space.py").write_text(NEIGHBOURED)
    return folder / "space.py"


def own_space(path: Path, version: str = "1", steps: int = 5, tasks: int = 8) -> Path:
    """Write a search space of 8 cells in 4 packs, with components of its own."""
    text = COMPONENTS.replace("VERSION", version) + SPACE.replace("STEPS", str(steps)).replace("TASKS", str(tasks))
    path.write_text(text)
    return path
