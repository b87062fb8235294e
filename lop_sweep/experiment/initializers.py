"""Initial weights of a network."""

from __future__ import annotations

from typing import Protocol

from torch import nn

from lop_sweep.registry import register


class Initializer(Protocol):
    """How the layers of a new network are initialised. Both implementations build their networks with it."""

    name: str

    def apply(self, layer: nn.Linear) -> None:
        """Set a layer's weights and biases in place. Randomness comes from PyTorch's CPU generator."""
        ...


@register("init", "xavier_normal")
class XavierNormal:
    """Weights from N(0, 2 / (fan_in + fan_out)), zero biases.

    Source: X. Glorot and Y. Bengio, "Understanding the difficulty of training deep feedforward neural networks",
    AISTATS 2010, with normal in place of uniform numbers.
    """

    name: str

    def apply(self, layer: nn.Linear) -> None:
        """Draw the weights, set the biases to zero."""
        nn.init.xavier_normal_(layer.weight)
        nn.init.zeros_(layer.bias)
