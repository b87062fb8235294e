"""Activations of the hidden layers: value and derivative for the engine, and the function of the reference."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Protocol

from lop_sweep.array_api import Array, array_namespace
from lop_sweep.registry import register

if TYPE_CHECKING:
    import torch


class Activation(Protocol):
    """A function a = f(z) of each unit.

    Attributes:
        name: what a configuration calls it.
        hyper: the configuration fields that it uses.
        expansion: features per unit. With more than one, a is as many times as wide as z.
        keeps_z: whether `backward` reads z. If not, the engine does not keep z and passes None.
    """

    name: str
    hyper: tuple[str, ...]
    expansion: int
    keeps_z: bool

    def value(self, z: Array) -> Array:
        """Return f(z) as a new array, (..., h * expansion) for z of the shape (..., h)."""
        ...

    def backward(self, error: Array, z: Array | None, a: Array) -> Array:
        """Return error * f'(z), in the shape of z. `error` may be overwritten, `z` and `a` may not."""
        ...

    def torch(self) -> Callable[[torch.Tensor], torch.Tensor]:
        """Return f for the reference, differentiable by autograd."""
        ...


class ElementwiseActivation:
    """Base of activations with one feature per unit and no hyperparameters."""

    name: str
    hyper: tuple[str, ...] = ()
    expansion = 1
    keeps_z = True


@register("activation", "tanh")
class Tanh(ElementwiseActivation):
    """The hyperbolic tangent, with f'(z) = 1 - a^2."""

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
        import torch

        return torch.tanh
