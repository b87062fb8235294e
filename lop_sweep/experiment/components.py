"""The components that a configuration chooses by name, of every kind but metrics, which all cells have."""

from __future__ import annotations

from dataclasses import dataclass

from lop_sweep.config import CellConfig
from lop_sweep.experiment.activations import Activation
from lop_sweep.experiment.initializers import Initializer
from lop_sweep.experiment.losses import Loss
from lop_sweep.experiment.optimizers import Optimizer
from lop_sweep.experiment.streams import TaskStream
from lop_sweep.registry import component

DEFAULTS: dict[str, str] = {
    "activation": "tanh",
    "init": "xavier_normal",
    "optimizer": "sgd",
    "loss": "binary",
    "stream": "gaussian_mixture",
}
"""Kind of component to the name of the one that is used unless the configuration has a field of that kind's name."""


@dataclass(frozen=True)
class Components:
    """One component of each kind."""

    activation: Activation
    init: Initializer
    optimizer: Optimizer
    loss: Loss
    stream: TaskStream

    @classmethod
    def of(cls, config: CellConfig) -> Components:
        """Return the components of a cell.

        Raises:
            ConfigError: no component has the name that the configuration gives.
        """
        return cls(**{kind: component(kind, getattr(config, kind, name)) for kind, name in DEFAULTS.items()})
