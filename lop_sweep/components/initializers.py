"""Initial weights of a network.

The Kaiming initialisers have a gain, which depends on the activation that follows a layer: `Activation.gain`. The
output layer, which none follows, has a gain of 1.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Protocol

import numpy as np

from lop_sweep.registry import register

if TYPE_CHECKING:
    from torch import nn


class Initializer(Protocol):
    """How the layers of a new network are initialised. Both implementations build their networks with it."""

    name: str
    hyper: tuple[str, ...]

    def apply(self, layer: nn.Linear, gain: float = 1.0) -> None:
        """Set a new layer's weights and biases in place. Randomness comes from PyTorch's CPU generator."""
        ...

    def draw(
        self, rng: np.random.Generator, fan_in: int, fan_out: int, gain: float = 1.0
    ) -> tuple[np.ndarray, np.ndarray]:
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

    def apply(self, layer: nn.Linear, gain: float = 1.0) -> None:
        """Draw the weights, set the biases to zero. The gain has no effect."""
        from torch import nn

        nn.init.xavier_normal_(layer.weight)
        nn.init.zeros_(layer.bias)

    def draw(
        self, rng: np.random.Generator, fan_in: int, fan_out: int, gain: float = 1.0
    ) -> tuple[np.ndarray, np.ndarray]:
        """Draw the weights; the biases are zero. The gain has no effect."""
        deviation = np.sqrt(2 / (fan_in + fan_out))
        return deviation * rng.standard_normal((fan_in, fan_out)), np.zeros(fan_out)


@register("init", "kaiming_uniform")
class KaimingUniform:
    """Weights from U(-b, b) with b = gain sqrt(3 / fan_in), zero biases.

    Source: K. He et al., "Delving deep into rectifiers", ICCV 2015. The gains are PyTorch's, and 1 for the output
    layer, as in the code of S. Dohare et al., "Loss of plasticity in deep continual learning", Nature 632, 2024.
    """

    name: str
    hyper: tuple[str, ...] = ()

    def apply(self, layer: nn.Linear, gain: float = 1.0) -> None:
        """Draw the weights, set the biases to zero."""
        from torch import nn

        bound = gain * math.sqrt(3 / layer.in_features)
        nn.init.uniform_(layer.weight, -bound, bound)
        nn.init.zeros_(layer.bias)

    def draw(
        self, rng: np.random.Generator, fan_in: int, fan_out: int, gain: float = 1.0
    ) -> tuple[np.ndarray, np.ndarray]:
        """Draw the weights; the biases are zero."""
        bound = gain * math.sqrt(3 / fan_in)
        return rng.uniform(-bound, bound, (fan_in, fan_out)), np.zeros(fan_out)


@register("init", "kaiming_normal")
class KaimingNormal:
    """Weights from N(0, gain^2 / fan_in), zero biases.

    Source: K. He et al., "Delving deep into rectifiers", ICCV 2015, with the gains of `kaiming_uniform`.
    """

    name: str
    hyper: tuple[str, ...] = ()

    def apply(self, layer: nn.Linear, gain: float = 1.0) -> None:
        """Draw the weights, set the biases to zero."""
        from torch import nn

        nn.init.normal_(layer.weight, 0.0, gain / math.sqrt(layer.in_features))
        nn.init.zeros_(layer.bias)

    def draw(
        self, rng: np.random.Generator, fan_in: int, fan_out: int, gain: float = 1.0
    ) -> tuple[np.ndarray, np.ndarray]:
        """Draw the weights; the biases are zero."""
        return gain / math.sqrt(fan_in) * rng.standard_normal((fan_in, fan_out)), np.zeros(fan_out)


@register("init", "pytorch")
class PyTorchInit:
    """Weights and biases from U(-b, b) with b = 1 / sqrt(fan_in): what the constructor of `torch.nn.Linear` draws.

    Source: the documentation of `torch.nn.Linear`. Used by S. Kumar et al., "Maintaining plasticity in continual
    learning via regenerative regularization", arXiv 2308.11958, 2023.
    """

    name: str
    hyper: tuple[str, ...] = ()

    def apply(self, layer: nn.Linear, gain: float = 1.0) -> None:
        """Leave what the constructor drew. The gain has no effect."""

    def draw(
        self, rng: np.random.Generator, fan_in: int, fan_out: int, gain: float = 1.0
    ) -> tuple[np.ndarray, np.ndarray]:
        """Draw the weights, then the biases. The gain has no effect."""
        bound = 1 / math.sqrt(fan_in)
        return rng.uniform(-bound, bound, (fan_in, fan_out)), rng.uniform(-bound, bound, fan_out)
