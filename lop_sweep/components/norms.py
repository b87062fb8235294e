"""Normalisations of a hidden layer, between its affine map and its activation."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

from lop_sweep.array_api import Array
from lop_sweep.config import NONE, CellConfig
from lop_sweep.registry import register

if TYPE_CHECKING:
    from torch import nn


class Norm(Protocol):
    """A map from z to values of the same shape, with parameters of its own or none.

    Shapes: z is (P, n, h); each parameter is (P, 1, h).

    Attributes:
        name: what a configuration calls it.
        hyper: the configuration fields that it uses.
    """

    name: str
    hyper: tuple[str, ...]

    def init(self, z: Array) -> dict[str, Array]:
        """Return the initial parameters by name, for z of this shape, (P, 1, h); empty if it has none."""
        ...

    def forward(self, z: Array, parameters: dict[str, Array]) -> tuple[Array, Any]:
        """Return the normalised values, and what `backward` needs. `z` may be overwritten."""
        ...

    def backward(self, error: Array, parameters: dict[str, Array], kept: Any) -> tuple[Array, dict[str, Array]]:
        """Return the derivatives by z and by each parameter, from `error`, that by the normalised values.

        `error` may be overwritten.
        """
        ...

    def torch(self, width: int, config: CellConfig) -> nn.Module:
        """Return the reference's module, in training mode, for layers of `width` units."""
        ...


@register("norm", NONE)
class NoNorm:
    """No normalisation."""

    name: str
    hyper: tuple[str, ...] = ()

    def init(self, z: Array) -> dict[str, Array]:
        """Return no parameters."""
        return {}

    def forward(self, z: Array, parameters: dict[str, Array]) -> tuple[Array, Any]:
        """Return z itself."""
        return z, None

    def backward(self, error: Array, parameters: dict[str, Array], kept: Any) -> tuple[Array, dict[str, Array]]:
        """Return the error itself."""
        return error, {}

    def torch(self, width: int, config: CellConfig) -> nn.Module:
        """Return `torch.nn.Identity`."""
        from torch import nn

        return nn.Identity()
