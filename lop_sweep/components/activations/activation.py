"""What all activations share: their interface, and the defaults of most."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable
from typing import TYPE_CHECKING, Protocol

from lop_sweep.array_api import Array, array_namespace

if TYPE_CHECKING:
    import torch


class Activation(Protocol):
    """A function a = f(z) of each unit.

    Attributes:
        name: what a configuration calls it.
        hyper: the configuration fields that it uses.
        expansion: features per unit. With more than one, a is as many times as wide as z.
        keeps_z: whether `backward` reads z. If not, the engine does not keep z and passes None.
        gain: the factor of the initial weights of the layers that it follows, for initialisers that use one.
    """

    name: str
    hyper: tuple[str, ...]
    expansion: int
    keeps_z: bool
    gain: float

    def value(self, z: Array) -> Array:
        """Return f(z), (..., h * expansion) for z of the shape (..., h): a new array, or z itself."""
        ...

    def backward(self, error: Array, z: Array | None, a: Array) -> Array:
        """Return error * f'(z), in the shape of z. `error` may be overwritten, `z` and `a` may not."""
        ...

    def slope(self, z: Array, a: Array) -> Array:
        """Return f'(z) as a new array in the shape of z; with several features per unit, the sum of their slopes."""
        ...

    def torch(self) -> Callable[[torch.Tensor], torch.Tensor]:
        """Return f for the reference, differentiable by autograd."""
        ...


class BaseActivation:
    """Base of activations without hyperparameters. By default a unit has one feature, and `backward` reads z."""

    name: str
    hyper: tuple[str, ...] = ()
    expansion = 1
    keeps_z = True
    gain = 1.0

    @abstractmethod
    def backward(self, error: Array, z: Array | None, a: Array) -> Array:
        """Return error * f'(z)."""

    def slope(self, z: Array, a: Array) -> Array:
        """Return what `backward` makes of ones."""
        return self.backward(array_namespace(a).ones_like(a), z, a)
