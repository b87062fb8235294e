"""Initial weights of a network."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

import numpy as np

from lop_sweep.registry import register

if TYPE_CHECKING:
    from torch import nn


class Initializer(Protocol):
    """How the layers of a new network are initialised. Both implementations build their networks with it."""

    name: str
    hyper: tuple[str, ...]

    def apply(self, layer: nn.Linear) -> None:
        """Set a layer's weights and biases in place. Randomness comes from PyTorch's CPU generator."""
        ...

    def draw(self, rng: np.random.Generator, fan_in: int, fan_out: int) -> tuple[np.ndarray, np.ndarray]:
        """Return weights (fan_in, fan_out) and biases (fan_out,) of the same distribution, in float64."""
        ...


@register("init", "xavier_normal")
class XavierNormal:
    """Weights from N(0, 2 / (fan_in + fan_out)), zero biases.

    Source: X. Glorot and Y. Bengio, "Understanding the difficulty of training deep feedforward neural networks",
    AISTATS 2010, with normal in place of uniform numbers.
    """

    name: str
    hyper: tuple[str, ...] = ()

    def apply(self, layer: nn.Linear) -> None:
        """Draw the weights, set the biases to zero."""
        from torch import nn

        nn.init.xavier_normal_(layer.weight)
        nn.init.zeros_(layer.bias)

    def draw(self, rng: np.random.Generator, fan_in: int, fan_out: int) -> tuple[np.ndarray, np.ndarray]:
        """Draw the weights; the biases are zero."""
        deviation = np.sqrt(2 / (fan_in + fan_out))
        return deviation * rng.standard_normal((fan_in, fan_out)), np.zeros(fan_out)
