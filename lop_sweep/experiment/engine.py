"""The fast engine: forward pass, hand-derived backward pass and updates for a batch of networks.

Written against the array API standard: all functions take the namespace from the arrays that they are given. They do
not know where the data comes from or what happens to the results, and draw nothing at random.

Symbols and shapes. P is the axis of networks, always the leading one:

    P, n, d, h    networks in the batch, points of a task, input dimension, units per hidden layer
    x             (P, n, d)            points
    y             (P, n, 1)            labels, 0 or 1
    W_l, b_l      (P, fan_in, fan_out), (P, 1, fan_out)    layer l; the last layer has fan_out = 1
    z_l, a_l      (P, n, h)            pre-activation, and activation a_l = f(z_l), of hidden layer l
    s             (P, n, 1)            logits
    hyper         (P, 1, 1) each       hyperparameters of the optimizer, for example learning rates

Networks never mix: every operation is elementwise or a batched matrix product along P.

For speed, losses are computed from the logits of many steps at once, each layer is updated during the backward pass,
and temporary arrays are changed in place. Where exp overflows, infinity leads to the right limit; NumPy would warn.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property

from lop_sweep.array_api import Array, array_namespace, is_numpy
from lop_sweep.experiment.activations import Activation
from lop_sweep.experiment.components import Components
from lop_sweep.experiment.losses import Loss
from lop_sweep.experiment.optimizers import Optimizer, ParameterState

_MAX_STEPS_PER_LOSS = 200
"""Steps whose logits are kept until their losses are computed."""
_MAX_SMALL_PRODUCT = 10**6
"""Multiplications up to which OpenBLAS takes its kernels for small matrices. They are fast on rows only: copying the
transposed weights costs less than reading columns."""


@dataclass(frozen=True)
class Parameters:
    """Weights and biases of a batch, hidden layers first, the output layer last."""

    weights: list[Array]
    biases: list[Array]


@dataclass(frozen=True)
class TrainingState:
    """Everything that training changes, in place.

    Attributes:
        parameters: of the networks.
        memory: of the optimizer: for each layer, the state of its weights and that of its biases.
    """

    parameters: Parameters
    memory: list[tuple[ParameterState, ParameterState]]

    def arrays(self) -> list[Array]:
        """Return all arrays in a fixed order: weights, biases, the optimizer's memory."""
        return [*self.parameters.weights, *self.parameters.biases, *self.memory_arrays()]

    def memory_arrays(self) -> list[Array]:
        """Return the arrays of the optimizer's memory in a fixed order. Empty for optimizers without memory."""
        return [state[name] for layer in self.memory for state in layer for name in sorted(state)]


@dataclass(frozen=True)
class TaskArrays:
    """What each network of a batch trains on, and how: x, y and hyper of the glossary."""

    x: Array
    y: Array
    hyper: Mapping[str, Array]

    @cached_property
    def ones(self) -> Array:
        """Ones (1, 1, n), by which a product sums over points."""
        return array_namespace(self.y).ones((1, 1, self.y.shape[-2]), dtype=self.y.dtype, device=self.y.device)

    def arrays(self) -> list[Array]:
        """Return all arrays in a fixed order."""
        return [self.x, self.y, *self.hyper.values()]


@dataclass(frozen=True)
class ForwardPass:
    """The result of one forward pass.

    Attributes:
        inputs: of each layer: x, a_1 ... a_L.
        pre: z_1 ... z_L, or None for each that was not kept.
        logits: s.
    """

    inputs: list[Array]
    pre: list[Array | None]
    logits: Array


@dataclass(frozen=True)
class TrainingTrace:
    """What training on one task records.

    Attributes:
        losses: shape (steps, P), the loss before each update.
        grad_norm: shape (P,), 2-norm of the gradient of all hidden layers' weights and biases at the first step.
    """

    losses: Array
    grad_norm: Array


@dataclass(frozen=True)
class Engine:
    """Training of a batch whose networks share an activation, a loss and an optimizer. It has no state of its own."""

    activation: Activation
    loss: Loss
    optimizer: Optimizer

    @classmethod
    def of(cls, components: Components) -> Engine:
        """Return the engine with a cell's components."""
        return cls(components.activation, components.loss, components.optimizer)

    def init(self, parameters: Parameters) -> TrainingState:
        """Return the state before the first update. It shares the memory of `parameters`."""
        layers = zip(parameters.weights, parameters.biases, strict=True)
        return TrainingState(
            parameters, [(self.optimizer.init(weight), self.optimizer.init(bias)) for weight, bias in layers]
        )

    def forward(self, parameters: Parameters, x: Array, keep_pre: bool = False) -> ForwardPass:
        """Compute z_l = a_(l-1) W_l + b_l, a_l = f(z_l), s = a_L W_out + b_out.

        Args:
            parameters: W and b of the glossary.
            x: as in the glossary.
            keep_pre: whether to keep z_l even if the activation's `backward` does not need it.
        """
        value = self.activation.value
        keep_pre = keep_pre or self.activation.keeps_z
        inputs: list[Array] = [x]
        pre: list[Array | None] = []
        output = len(parameters.weights) - 1
        for layer in range(output):
            z = _affine(parameters, layer, inputs[-1])
            pre.append(z if keep_pre else None)
            inputs.append(value(z))
        return ForwardPass(inputs, pre, _affine(parameters, output, inputs[-1]))

    def backward(
        self, parameters: Parameters, task: TaskArrays, passed: ForwardPass
    ) -> Iterator[tuple[int, Array, Array]]:
        """Compute the loss's gradients layer by layer, from the output layer down.

        Formula, with e_l the derivative by layer l's pre-activation, e_out that by the logits:
            e_l = (e_(l+1) W_(l+1)^T) * f'(z_l),  dW_l = a_(l-1)^T e_l,  db_l = sum over points of e_l.

        Args:
            parameters: W and b of the glossary.
            task: x and y of the glossary.
            passed: from `forward`.

        Yields:
            The layer's index, dW_l and db_l, in the shapes of W_l and b_l. The error of the layer below is computed
            before a layer is yielded, so the caller may update that layer at once.
        """
        through, weights, ones = self.activation.backward, parameters.weights, task.ones
        inputs, pre = passed.inputs, passed.pre
        error = self.loss.error(passed.logits, task.y)
        for layer in range(len(weights) - 1, -1, -1):
            grad_weight = inputs[layer].mT @ error
            grad_bias = ones @ error  # the sum over points; as a product it takes half of the time
            if layer > 0:
                error = through(_below(error, weights[layer]), pre[layer - 1], inputs[layer])
            yield layer, grad_weight, grad_bias

    def step(self, state: TrainingState, task: TaskArrays, squares: list[Array] | None = None) -> Array:
        """Update every network once, in place.

        Args:
            state: of the networks.
            task: what they train on.
            squares: if given, the sums of squares of the hidden layers' gradients are appended, each of shape (P,).

        Returns:
            The logits before the update, shape (P, n, 1).
        """
        parameters, memory = state.parameters, state.memory
        update, hyper = self.optimizer.update, task.hyper
        passed = self.forward(parameters, task.x)
        output = len(parameters.weights) - 1
        for layer, grad_weight, grad_bias in self.backward(parameters, task, passed):
            if squares is not None and layer != output:
                squares += [_sum_of_squares(grad_weight), _sum_of_squares(grad_bias)]
            weight_state, bias_state = memory[layer]
            update(parameters.weights[layer], grad_weight, weight_state, hyper)
            update(parameters.biases[layer], grad_bias, bias_state, hyper)
        return passed.logits

    def train(self, state: TrainingState, task: TaskArrays, steps: int) -> TrainingTrace:
        """Update every network `steps` times on all points of its own task, in place. `steps` is at least 1."""
        xp = array_namespace(task.x)
        squares: list[Array] = []
        losses = []
        for start in range(0, steps, _MAX_STEPS_PER_LOSS):
            block = range(start, min(start + _MAX_STEPS_PER_LOSS, steps))
            logits = [self.step(state, task, None if step else squares) for step in block]
            losses.append(self.loss.value(xp.stack(logits), task.y))
        return TrainingTrace(xp.concat(losses), xp.sqrt(xp.sum(xp.stack(squares), axis=0)))


def _sum_of_squares(array: Array) -> Array:
    return array_namespace(array).sum(array * array, axis=(-2, -1))


def _affine(parameters: Parameters, layer: int, below: Array) -> Array:
    z = below @ parameters.weights[layer]
    z += parameters.biases[layer]
    return z


def _below(error: Array, weight: Array) -> Array:
    """Return error W^T as a new array, (P, n, fan_in)."""
    if weight.shape[-1] == 1:
        return error * weight.mT  # an outer product, which BLAS does not speed up
    transposed = weight.mT
    if is_numpy(weight) and error.shape[-2] * weight.shape[-2] * weight.shape[-1] <= _MAX_SMALL_PRODUCT:
        transposed = transposed.reshape(-1).reshape(transposed.shape)
    return error @ transposed
