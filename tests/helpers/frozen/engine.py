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

What is done for speed: losses are computed from the logits of many steps at once, and arrays that nobody else sees are
changed in place. Where exp overflows, infinity leads to the right limit; NumPy would warn of it.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from frozen.namespace import Array, array_namespace, is_numpy

_LOSSES_AT_ONCE = 200
"""Steps whose logits are kept until their losses are computed."""
_SMALL_PRODUCT = 10**6
"""Multiplications up to which OpenBLAS takes its kernels for small matrices. They want rows: copying the transposed
weights takes less time than they lose on columns."""


@dataclass(frozen=True)
class Parameters:
    """Weights and biases of a pack, hidden layers first, the output layer last. `sgd_step` updates them in place."""

    weights: list[Array]
    biases: list[Array]


@dataclass(frozen=True)
class Activity:
    """What one forward pass leaves behind: `inputs` of each layer, x, a_1 ... a_L, and `logits`, s."""

    inputs: list[Array]
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


def forward(parameters: Parameters, x: Array, pre: list[Array] | None = None) -> Activity:
    """Forward pass: z_l = a_(l-1) W_l + b_l, a_l = tanh(z_l), s = a_L W_out + b_out.

    Args:
        parameters, x: as in the glossary.
        pre: if given, each hidden layer's z_l is appended.
    """
    xp = array_namespace(x)
    inputs = [x]
    output = len(parameters.weights) - 1
    for layer in range(output):
        z = _affine(parameters, layer, inputs[-1])
        if pre is not None:
            pre.append(z)
        inputs.append(xp.tanh(z))
    return Activity(inputs, _affine(parameters, output, inputs[-1]))


def cross_entropy(logits: Array, y: Array) -> Array:
    """Mean binary cross-entropy of each network, in nats: (P,) for logits (P, n, 1), (steps, P) for (steps, P, n, 1).

    Formula: mean of max(s, 0) - s y + log(1 + exp(-|s|)), which is -y log p - (1-y) log(1-p) for p = sigmoid(s),
    without overflow.
    """
    xp = array_namespace(logits)
    losses = xp.where(logits > 0, logits, xp.zeros_like(logits)) - logits * y + xp.log1p(xp.exp(-xp.abs(logits)))
    return xp.mean(losses, axis=(-2, -1))


def output_error(logits: Array, y: Array) -> Array:
    """Derivative of `cross_entropy` by the logits: (sigmoid(s) - y) / n, shape (P, n, 1)."""
    xp = array_namespace(logits)
    return (1 / (1 + xp.exp(-logits)) - y) / y.shape[-2]


def backward(parameters: Parameters, inputs: list[Array], error: Array) -> Iterator[tuple[int, Array, Array]]:
    """Gradients layer by layer, from the output layer down.

    Formula, with e_l the derivative by layer l's pre-activation, e_out being `error`:
        e_l = (e_(l+1) W_(l+1)^T) * (1 - a_l^2),  dW_l = a_(l-1)^T e_l,  db_l = sum over points of e_l.

    Args:
        parameters: as in the glossary.
        inputs: from `forward`.
        error: derivative by the logits of what is differentiated, shape (P, n, 1); from `output_error`.

    Yields:
        The layer's index, dW_l and db_l, in the shapes of W_l and b_l. The error of the layer below is computed before
        a layer is yielded, so the caller may update that layer at once.
    """
    xp = array_namespace(error)
    ones = xp.ones((1, 1, error.shape[-2]), dtype=error.dtype, device=error.device)
    for layer in range(len(parameters.weights) - 1, -1, -1):
        grad_weight = inputs[layer].mT @ error
        grad_bias = ones @ error  # the sum over points; as a product it takes half of the time
        if layer > 0:
            error = _below(error, parameters.weights[layer])
            flat = inputs[layer] * inputs[layer]
            flat *= error
            error -= flat
        yield layer, grad_weight, grad_bias


def sgd_step(parameters: Parameters, x: Array, y: Array, lr: Array, squares: list[Array] | None = None) -> Array:
    """One update W <- W - lr dW of every network, in place; returns the logits before it, shape (P, n, 1).

    Args:
        parameters, x, y, lr: as in the glossary.
        squares: if given, the sums of squares of the hidden layers' gradients are appended, each of shape (P,).
    """
    activity = forward(parameters, x)
    error = output_error(activity.logits, y)
    output = len(parameters.weights) - 1
    for layer, grad_weight, grad_bias in backward(parameters, activity.inputs, error):
        if squares is not None and layer != output:
            squares += [_sum_of_squares(grad_weight), _sum_of_squares(grad_bias)]
        grad_weight *= lr
        parameters.weights[layer] -= grad_weight
        grad_bias *= lr
        parameters.biases[layer] -= grad_bias
    return activity.logits


def train(parameters: Parameters, x: Array, y: Array, lr: Array, steps: int) -> Trace:
    """`steps` full-batch updates of every network on its own task, in place; `steps` is at least 1."""
    xp = array_namespace(x)
    squares: list[Array] = []
    losses = []
    for start in range(0, steps, _LOSSES_AT_ONCE):
        block = range(start, min(start + _LOSSES_AT_ONCE, steps))
        logits = [sgd_step(parameters, x, y, lr, None if step else squares) for step in block]
        losses.append(cross_entropy(xp.stack(logits), y))
    return Trace(xp.concat(losses), xp.sqrt(xp.sum(xp.stack(squares), axis=0)))


def _sum_of_squares(array: Array) -> Array:
    return array_namespace(array).sum(array * array, axis=(-2, -1))


def _affine(parameters: Parameters, layer: int, below: Array) -> Array:
    z = below @ parameters.weights[layer]
    z += parameters.biases[layer]
    return z


def _below(error: Array, weight: Array) -> Array:
    """error W^T, (P, n, fan_in)."""
    if weight.shape[-1] == 1:
        return error * weight.mT  # an outer product; no BLAS is fast at that
    transposed = weight.mT
    if is_numpy(weight) and error.shape[-2] * weight.shape[-2] * weight.shape[-1] <= _SMALL_PRODUCT:
        transposed = transposed.reshape(-1).reshape(transposed.shape)
    return error @ transposed
