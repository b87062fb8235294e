"""Activations whose values are bounded: all units can saturate."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import TYPE_CHECKING

from lop_sweep.array_api import Array, array_namespace, erf
from lop_sweep.components.activations.activation import BaseActivation
from lop_sweep.registry import register

if TYPE_CHECKING:
    import torch


@register("activation", "tanh")
class Tanh(BaseActivation):
    """The hyperbolic tangent, with f'(z) = 1 - a^2."""

    keeps_z = False
    gain = 5 / 3

    def value(self, z: Array) -> Array:
        """Return tanh(z)."""
        return array_namespace(z).tanh(z)

    def backward(self, error: Array, z: Array | None, a: Array) -> Array:
        """Return error * (1 - a^2), in the memory of `error`."""
        flat = a * a
        flat *= error
        error -= flat
        return error

    def torch(self) -> Callable[[torch.Tensor], torch.Tensor]:
        """Return `torch.tanh`."""
        import torch

        return torch.tanh


@register("activation", "sigmoid")
class Sigmoid(BaseActivation):
    """a = 1 / (1 + exp(-z)), with f'(z) = a (1 - a)."""

    keeps_z = False

    def value(self, z: Array) -> Array:
        """Return the logistic function of z."""
        return logistic(z)

    def backward(self, error: Array, z: Array | None, a: Array) -> Array:
        """Return error * a (1 - a), in the memory of `error`."""
        slope = 1 - a
        slope *= a
        error *= slope
        return error

    def torch(self) -> Callable[[torch.Tensor], torch.Tensor]:
        """Return `torch.sigmoid`."""
        import torch

        return torch.sigmoid


@register("activation", "erf")
class Erf(BaseActivation):
    """The error function a = erf(z), with f'(z) = 2 / sqrt(pi) exp(-z^2).

    Its gain for initialisers is that of tanh, whose shape it has.
    """

    gain = 5 / 3

    def value(self, z: Array) -> Array:
        """Return erf(z)."""
        return erf(z)

    def backward(self, error: Array, z: Array | None, a: Array) -> Array:
        """Return error * 2 / sqrt(pi) exp(-z^2), in the memory of `error`."""
        assert z is not None
        exponent = z * z
        exponent *= -1
        slope = array_namespace(z).exp(exponent)
        slope *= 2 / math.sqrt(math.pi)
        error *= slope
        return error

    def torch(self) -> Callable[[torch.Tensor], torch.Tensor]:
        """Return `torch.special.erf`."""
        import torch

        return torch.special.erf


def logistic(z: Array) -> Array:
    """Return 1 / (1 + exp(-z)) as a new array. Where exp overflows, infinity leads to the right limit."""
    p = array_namespace(z).exp(-z)
    p += 1
    return 1 / p
