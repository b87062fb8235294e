"""Losses of a task: value and derivative for the engine, and the function of the reference."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Protocol

from lop_sweep.array_api import Array, array_namespace
from lop_sweep.registry import register

if TYPE_CHECKING:
    import torch


class Loss(Protocol):
    """A mean over the points of a task. P networks, n points, k outputs.

    Logits and targets y have k values per point: k = 1 for a binary label or a number, else one per class.

    Attributes:
        name: what a task stream calls it.
        unit: of its values.
    """

    name: str
    unit: str

    def value(self, logits: Array, y: Array) -> Array:
        """Return each network's loss, (P,) for logits (P, n, k) and (steps, P) for (steps, P, n, k)."""
        ...

    def error(self, logits: Array, y: Array) -> Array:
        """Return the derivative of `value` by the logits, (P, n, k)."""
        ...

    def accuracy(self, logits: Array, y: Array) -> Array:
        """Return the share of points that each network classifies correctly, float64 (P,)."""
        ...

    def torch(self) -> Callable[[torch.Tensor, torch.Tensor], torch.Tensor]:
        """Return the loss of one network for the reference: logits and targets (n, k) to a scalar tensor."""
        ...


@register("loss", "binary")
class BinaryCrossEntropy:
    """Mean binary cross-entropy of the logits, in nats."""

    name: str
    unit = "nats"

    def value(self, logits: Array, y: Array) -> Array:
        """Return the mean over points of -y log p - (1-y) log(1-p), with p = sigmoid(s).

        Formula: mean of max(s, 0) - s y + log(1 + exp(-|s|)), which is the same without overflow.
        """
        xp = array_namespace(logits)
        losses = xp.where(logits > 0, logits, xp.zeros_like(logits)) - logits * y + xp.log1p(xp.exp(-xp.abs(logits)))
        return xp.mean(losses, axis=(-2, -1))

    def error(self, logits: Array, y: Array) -> Array:
        """Return (sigmoid(s) - y) / n."""
        xp = array_namespace(logits)
        return (1 / (1 + xp.exp(-logits)) - y) / y.shape[-2]

    def accuracy(self, logits: Array, y: Array) -> Array:
        """Return the share of points with p > 1/2 exactly where y = 1."""
        xp = array_namespace(logits)
        return xp.mean(xp.astype((logits > 0) == (y > 0.5), xp.float64), axis=(-2, -1))

    def torch(self) -> Callable[[torch.Tensor, torch.Tensor], torch.Tensor]:
        """Return PyTorch's own implementation."""
        import torch

        return torch.nn.functional.binary_cross_entropy_with_logits
