"""Losses of a task: value and derivative for the engine, and the function of the reference."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Protocol

from lop_sweep.array_api import Array, array_namespace
from lop_sweep.registry import register

if TYPE_CHECKING:
    import torch


_NATS = "nats"


def in_units(text: str, units: Iterable[str]) -> str:
    """Return a label or sentence, written for cross-entropy in nats, in the words of losses with these units.

    "late CE (nats)" becomes "late loss (squared error)", and "by > 0.1 nats" becomes "by > 0.1".
    """
    names = sorted(set(units))
    if names in ([], [_NATS]):
        return text
    text = re.sub(r"\bCE\b", "loss", text).replace(f"({_NATS}", f"({' or '.join(names)}")
    return re.sub(rf"(^| ){_NATS}\b", "", text)


class Loss(Protocol):
    """A mean over the points of a task. P networks, n points, k outputs.

    Logits and targets y have k values per point: one for a binary label, one per class, or any numbers.

    Attributes:
        name: what a task stream calls it.
        unit: of its values.
        has_classes: whether targets are classes, so that there is an accuracy.
    """

    name: str
    unit: str
    has_classes: bool

    def value(self, logits: Array, y: Array) -> Array:
        """Return each network's loss, (P,) for logits (P, n, k) and (steps, P) for (steps, P, n, k)."""
        ...

    def error(self, logits: Array, y: Array) -> Array:
        """Return the derivative of `value` by the logits, (P, n, k)."""
        ...

    def accuracy(self, logits: Array, y: Array) -> Array:
        """Return the share of points that each network classifies correctly, float64 (P,); NaN without classes."""
        ...

    def chance(self, outputs: int) -> float:
        """Return the loss of guessing without looking at the inputs, if all classes are equally frequent.

        Infinity where it depends on the targets: then no network counts as no better than guessing.
        """
        ...

    def torch_accuracy(self, logits: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
        """Return the accuracy of one network for the reference: logits and targets (n, k) to a scalar tensor."""
        ...

    def torch(self) -> Callable[[torch.Tensor, torch.Tensor], torch.Tensor]:
        """Return the loss of one network for the reference: logits and targets (n, k) to a scalar tensor."""
        ...


@register("loss", "binary")
class BinaryCrossEntropy:
    """Mean binary cross-entropy of the logits, in nats."""

    name: str
    unit = "nats"
    has_classes = True

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

    def chance(self, outputs: int) -> float:
        """Return ln 2."""
        return math.log(2)

    def torch_accuracy(self, logits: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
        """Return the share of points with p > 1/2 exactly where y = 1."""
        return ((logits > 0) == (y > 0.5)).double().mean()

    def torch(self) -> Callable[[torch.Tensor, torch.Tensor], torch.Tensor]:
        """Return PyTorch's own implementation."""
        import torch

        return torch.nn.functional.binary_cross_entropy_with_logits


@register("loss", "softmax")
class SoftmaxCrossEntropy:
    """Mean cross-entropy of k classes, in nats. Targets are one-hot."""

    name: str
    unit = "nats"
    has_classes = True

    def value(self, logits: Array, y: Array) -> Array:
        """Return the mean over points of -sum_j y_j log p_j, with p = softmax(s).

        Formula: log sum_j exp(s_j - m) - sum_j y_j (s_j - m) with m = max s, which is the same without overflow.
        """
        xp = array_namespace(logits)
        shifted = logits - xp.max(logits, axis=-1, keepdims=True)
        losses = xp.log(xp.sum(xp.exp(shifted), axis=-1)) - xp.sum(shifted * y, axis=-1)
        return xp.mean(losses, axis=-1)

    def error(self, logits: Array, y: Array) -> Array:
        """Return (softmax(s) - y) / n."""
        xp = array_namespace(logits)
        p = xp.exp(logits - xp.max(logits, axis=-1, keepdims=True))
        p /= xp.sum(p, axis=-1, keepdims=True)
        p -= y
        p /= y.shape[-2]
        return p

    def accuracy(self, logits: Array, y: Array) -> Array:
        """Return the share of points whose largest logit is that of their class."""
        xp = array_namespace(logits)
        return xp.mean(xp.astype(xp.argmax(logits, axis=-1) == xp.argmax(y, axis=-1), xp.float64), axis=-1)

    def chance(self, outputs: int) -> float:
        """Return ln k."""
        return math.log(outputs)

    def torch_accuracy(self, logits: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
        """Look up the target of the most probable class: 1 if it is right, else 0."""
        return y.gather(-1, logits.softmax(-1).argmax(-1, keepdim=True)).mean()

    def torch(self) -> Callable[[torch.Tensor, torch.Tensor], torch.Tensor]:
        """Return PyTorch's own implementation, which takes one-hot targets as probabilities."""
        import torch

        return torch.nn.functional.cross_entropy


@register("loss", "regression")
class SquaredError:
    """Mean squared error over points and outputs, without a factor of 1/2."""

    name: str
    unit = "squared error"
    has_classes = False

    def value(self, logits: Array, y: Array) -> Array:
        """Return the mean of (s - y)^2."""
        xp = array_namespace(logits)
        difference = logits - y
        difference *= difference
        return xp.mean(xp.mean(difference, axis=-1), axis=-1)

    def error(self, logits: Array, y: Array) -> Array:
        """Return 2 (s - y) / (n k)."""
        difference = logits - y
        difference *= 2 / (y.shape[-2] * y.shape[-1])
        return difference

    def accuracy(self, logits: Array, y: Array) -> Array:
        """Return NaN: there are no classes."""
        xp = array_namespace(logits)
        return xp.full(logits.shape[:-2], xp.nan, dtype=xp.float64, device=logits.device)

    def chance(self, outputs: int) -> float:
        """Return infinity: guessing costs the variance of the targets, which every task has its own of."""
        return math.inf

    def torch_accuracy(self, logits: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
        """Return NaN."""
        return logits.new_tensor(math.nan)

    def torch(self) -> Callable[[torch.Tensor, torch.Tensor], torch.Tensor]:
        """Return PyTorch's own implementation."""
        import torch

        return torch.nn.functional.mse_loss
