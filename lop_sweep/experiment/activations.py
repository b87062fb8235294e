"""Activations of the hidden layers: value and derivative for the engine, and the function of the reference."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

import torch

from lop_sweep.array_api import Array, array_namespace
from lop_sweep.registry import register


class Activation(Protocol):
    """An elementwise function a = f(z).

    Attributes:
        name: what a configuration calls it.
        keeps_z: whether `backward` reads z. If not, the engine does not keep z and passes None.
    """

    name: str
    keeps_z: bool

    def value(self, z: Array) -> Array:
        """Return f(z) as a new array, in the shape of z."""
        ...

    def backward(self, error: Array, z: Array | None, a: Array) -> Array:
        """Return error * f'(z), in the shape of z. `error` may be overwritten, `z` and `a` may not."""
        ...

    def torch(self) -> Callable[[torch.Tensor], torch.Tensor]:
        """Return f for the reference, differentiable by autograd."""
        ...


@register("activation", "tanh")
class Tanh:
    """The hyperbolic tangent, with f'(z) = 1 - a^2."""

    name: str
    keeps_z = False

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
        return torch.tanh
