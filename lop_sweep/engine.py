"""The fast engine: forward pass, hand-derived backward pass and gradient descent for a pack of networks.

Written against the array API standard: the functions take the namespace from the arrays that they are given. They know
neither where the data comes from nor what is done with the numbers, and draw nothing at random.

Symbols and shapes; P is the pack axis, always the leading one:

    P, n, d, h    networks in the pack, points of a task, input dimension, units a hidden layer
    x             (P, n, d)            points
    y             (P, n, 1)            labels, 0 or 1
    W_l, b_l      (P, fan_in, fan_out), (P, 1, fan_out)    layer l; the last layer has fan_out = 1
    z_l, a_l      (P, n, h)            pre-activation, and activation a_l = tanh(z_l), of hidden layer l
    s             (P, n, 1)            logits
    lr            (P, 1, 1)            learning rates

The networks of a pack never mix: every operation is elementwise or a batched matrix product along P.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

Array = Any
"""An array of any library that follows the array API standard."""


@dataclass(frozen=True)
class Parameters:
    """Weights and biases of a pack, hidden layers first, the output layer last. `sgd_step` updates them in place."""

    weights: list[Array]
    biases: list[Array]


@dataclass(frozen=True)
class Activity:
    """What one forward pass leaves behind: `pre` and `post`, lists of z_l and a_l, and `logits`, s."""

    pre: list[Array]
    post: list[Array]
    logits: Array


@dataclass(frozen=True)
class Trace:
    """What training on one task leaves behind.

    Attributes:
        losses: shape (steps, P), the loss before each update.
        grad_norm: shape (P,), 2-norm of the gradient of all hidden layers' weights and biases at the first step.
    """

    losses: Array
    grad_norm: Array


def forward(parameters: Parameters, x: Array) -> Activity:
    """Forward pass: z_l = a_(l-1) W_l + b_l, a_l = tanh(z_l), s = a_L W_out + b_out."""
    xp = x.__array_namespace__()
    pre, post = [], []
    below = x
    for weight, bias in zip(parameters.weights[:-1], parameters.biases[:-1], strict=True):
        pre.append(below @ weight + bias)
        below = xp.tanh(pre[-1])
        post.append(below)
    return Activity(pre, post, below @ parameters.weights[-1] + parameters.biases[-1])


def cross_entropy(logits: Array, y: Array) -> Array:
    """Mean binary cross-entropy of each network, in nats, shape (P,).

    Formula: mean of max(s, 0) - s y + log(1 + exp(-|s|)), which is -y log p - (1-y) log(1-p) for p = sigmoid(s),
    without overflow.
    """
    xp = logits.__array_namespace__()
    losses = xp.where(logits > 0, logits, xp.zeros_like(logits)) - logits * y + xp.log1p(xp.exp(-xp.abs(logits)))
    return xp.mean(losses, axis=(-2, -1))


def backward(parameters: Parameters, x: Array, y: Array, activity: Activity) -> Iterator[tuple[int, Array, Array]]:
    """Gradients of `cross_entropy`, layer by layer from the output layer down.

    Formula, with e the loss's derivative by a layer's pre-activation:
        e_out = (sigmoid(s) - y) / n,  e_l = (e_(l+1) W_(l+1)^T) * (1 - a_l^2),
        dW_l = a_(l-1)^T e_l,  db_l = sum over points of e_l.

    Yields:
        The layer's index, dW_l and db_l, in the shapes of W_l and b_l. The error of the layer below is computed before
        a layer is yielded, so the caller may update that layer at once.
    """
    xp = x.__array_namespace__()
    below = [x, *activity.post]
    error = (_sigmoid(activity.logits) - y) / x.shape[-2]
    for layer in range(len(parameters.weights) - 1, -1, -1):
        grad_weight = below[layer].mT @ error
        grad_bias = xp.sum(error, axis=-2, keepdims=True)
        if layer > 0:
            error = (error @ parameters.weights[layer].mT) * (1 - below[layer] * below[layer])
        yield layer, grad_weight, grad_bias


def sgd_step(parameters: Parameters, x: Array, y: Array, lr: Array, squares: list[Array] | None = None) -> Array:
    """One update W <- W - lr dW of every network, in place; returns the loss before it, shape (P,).

    Args:
        parameters, x, y, lr: as in the glossary.
        squares: if given, the sums of squares of the hidden layers' gradients are appended, each of shape (P,).
    """
    activity = forward(parameters, x)
    output = len(parameters.weights) - 1
    for layer, grad_weight, grad_bias in backward(parameters, x, y, activity):
        if squares is not None and layer != output:
            squares += [_sum_of_squares(grad_weight), _sum_of_squares(grad_bias)]
        parameters.weights[layer] -= lr * grad_weight
        parameters.biases[layer] -= lr * grad_bias
    return cross_entropy(activity.logits, y)


def train(parameters: Parameters, x: Array, y: Array, lr: Array, steps: int) -> Trace:
    """`steps` full-batch updates of every network on its own task, in place; `steps` is at least 1."""
    xp = x.__array_namespace__()
    squares: list[Array] = []
    losses = [sgd_step(parameters, x, y, lr, squares)]
    losses += [sgd_step(parameters, x, y, lr) for _ in range(steps - 1)]
    return Trace(xp.stack(losses), xp.sqrt(xp.sum(xp.stack(squares), axis=0)))


def _sum_of_squares(array: Array) -> Array:
    xp = array.__array_namespace__()
    return xp.sum(array * array, axis=(-2, -1))


def _sigmoid(logits: Array) -> Array:
    xp = logits.__array_namespace__()
    small = xp.exp(-xp.abs(logits))
    return xp.where(logits >= 0, xp.ones_like(small), small) / (1 + small)
