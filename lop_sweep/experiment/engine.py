"""The fast engine: forward pass, hand-derived backward pass and updates for a batch of networks.

Written against the array API standard: all functions take the namespace from the arrays that they are given. They do
not know where the data comes from or what happens to the results. What mitigations draw, they draw from streams that
the task brings along.

Symbols and shapes. P is the axis of networks, always the leading one:

    P, n, d, h, k points of a task or a minibatch: n; inputs: d; units per hidden layer: h; outputs: k
    x             (P, n, d)            points
    y             (P, n, k)            targets
    W_l, b_l      (P, fan_in, fan_out), (P, 1, fan_out)    layer l; the last layer has fan_out = k
    z_l, a_l      (P, n, h)            normalised pre-activation, and activation a_l = f(z_l), of hidden layer l
    s             (P, n, k)            logits
    hyper         (P, 1, 1) each       hyperparameters, for example learning rates

Networks never mix: every operation is elementwise or a batched matrix product along P.

For speed, losses are computed from the logits of many steps at once, each layer is updated during the backward pass,
and temporary arrays are changed in place. Where exp overflows, infinity leads to the right limit; NumPy would warn.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from lop_sweep.array_api import Array, array_namespace, is_numpy
from lop_sweep.components import (
    Activation,
    Components,
    Draws,
    Loss,
    Mitigation,
    MitigationState,
    Networks,
    Norm,
    Optimizer,
    ParameterGradient,
    ParameterState,
    role_of,
)
from lop_sweep.components.mitigations import BaseMitigation
from lop_sweep.config import FIELDS, CellConfig

_MAX_STEPS_PER_LOSS = 200
"""Steps whose logits are kept until their losses are computed."""
_MAX_BLOCK_VALUES = 2**16
"""Logits, or values of minibatches, that are kept at once, unless a single step has more: 512 kB in float64."""
_MAX_SMALL_PRODUCT = 10**6
"""Multiplications up to which OpenBLAS takes its kernels for small matrices. They are fast on rows only: copying the
transposed weights costs less than reading columns."""


@dataclass(frozen=True)
class Parameters:
    """Parameters of a batch.

    Attributes:
        weights, biases: of each layer, hidden ones first, the output layer last.
        norms: of each hidden layer, the parameters of its normalisation by name, each (P, 1, h).
    """

    weights: list[Array]
    biases: list[Array]
    norms: list[dict[str, Array]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.norms.extend({} for _ in self.weights[len(self.norms) + 1 :])

    def of_layer(self, layer: int) -> list[Array]:
        """Return a layer's weights, biases and parameters of its normalisation, in the order of gradients."""
        norm = self.norms[layer] if layer < len(self.norms) else {}
        return [self.weights[layer], self.biases[layer], *norm.values()]

    def norm_arrays(self) -> list[Array]:
        """Return the parameters of all normalisations in a fixed order."""
        return [array for norm in self.norms for array in norm.values()]

    def arrays(self) -> list[Array]:
        """Return all arrays in a fixed order."""
        return [*self.weights, *self.biases, *self.norm_arrays()]


@dataclass(frozen=True)
class TrainingState:
    """Everything that training changes, in place.

    Attributes:
        parameters: of the networks.
        memory: of the optimizer: for each layer, the states of its weights, its biases and its normalisation.
        mitigations: the state of each mitigation.
    """

    parameters: Parameters
    memory: list[list[ParameterState]]
    mitigations: list[MitigationState] = field(default_factory=list)

    def arrays(self) -> list[Array]:
        """Return all arrays in a fixed order."""
        return [*self.parameters.arrays(), *self.memory_arrays(), *self.mitigation_arrays()]

    def memory_arrays(self) -> list[Array]:
        """Return the arrays of the optimizer's memory in a fixed order. Empty for optimizers without memory."""
        return [state[name] for layer in self.memory for state in layer for name in sorted(state)]

    def mitigation_arrays(self) -> list[Array]:
        """Return the arrays of the mitigations' states in a fixed order."""
        return [array for state in self.mitigations for name in sorted(state) for array in state[name]]

    def copy(self, copied: Callable[[Array], Array]) -> TrainingState:
        """Return the state of the same structure, with each array replaced by what `copied` returns for it."""
        parameters = self.parameters
        return TrainingState(
            Parameters(
                [copied(array) for array in parameters.weights],
                [copied(array) for array in parameters.biases],
                [{name: copied(array) for name, array in norm.items()} for norm in parameters.norms],
            ),
            [[{name: copied(state[name]) for name in sorted(state)} for state in layer] for layer in self.memory],
            [{name: [copied(array) for array in state[name]] for name in sorted(state)} for state in self.mitigations],
        )


@dataclass(frozen=True)
class TaskArrays:
    """What each network of a batch trains on, and how.

    Attributes:
        x, y, hyper: as in the glossary.
        order: (P, steps, batch size) which points each update takes, as integers; None if every one takes all.
        draws: what mitigations draw from; None if there are no mitigations.
    """

    x: Array
    y: Array
    hyper: Mapping[str, Array]
    order: Array | None = None
    draws: Draws | None = None

    @cached_property
    def ones(self) -> Array:
        """Ones (1, 1, n), by which a product sums over the points of an update."""
        points = self.y.shape[-2] if self.order is None else self.order.shape[-1]
        return array_namespace(self.y).ones((1, 1, points), dtype=self.y.dtype, device=self.y.device)

    def arrays(self) -> list[Array]:
        """Return all arrays in a fixed order."""
        return [self.x, self.y, *self.hyper.values(), *([] if self.order is None else [self.order])]

    @property
    def steps_per_block(self) -> int:
        """How many updates `points` should be asked for at once."""
        if self.order is None:
            values = self.y.shape[0] * self.y.shape[1] * self.y.shape[2]
        else:
            values = self.y.shape[0] * self.order.shape[-1] * self.x.shape[-1]
        return max(min(_MAX_STEPS_PER_LOSS, _MAX_BLOCK_VALUES // values), 1)

    def points(self, start: int, stop: int) -> tuple[Array | list[Array], Array | list[Array]]:
        """Return x and y of the updates from `start` to before `stop`, each with a leading axis of updates."""
        if self.order is None:
            return [self.x] * (stop - start), [self.y] * (stop - start)
        xp = array_namespace(self.x)
        networks, points = self.x.shape[:2]
        offset = xp.arange(networks, dtype=self.order.dtype, device=self.x.device) * points
        index = xp.moveaxis(self.order[:, start:stop, :] + offset[:, None, None], 1, 0)
        flat, shape = xp.reshape(index, (-1,)), index.shape
        taken = [xp.take(xp.reshape(array, (-1, array.shape[-1])), flat, axis=0) for array in (self.x, self.y)]
        x, y = (xp.reshape(array, (*shape, array.shape[-1])) for array in taken)
        return x, y


@dataclass(frozen=True)
class ForwardPass:
    """The result of one forward pass.

    Attributes:
        inputs: of each layer: x, a_1 ... a_L.
        pre: z_1 ... z_L, or None for each that was not kept.
        kept: what the normalisation of each hidden layer keeps for the backward pass.
        logits: s.
    """

    inputs: list[Array]
    pre: list[Array | None]
    kept: list[Any]
    logits: Array


@dataclass(frozen=True)
class TrainingTrace:
    """What training on one task records.

    Attributes:
        losses: shape (steps, P), the loss before each update, on the points of that update.
        grad_norm: shape (P,), 2-norm of the gradient of all hidden layers' weights and biases at the first step.
        accuracies: shape (steps, P), accuracy before each update, on its points; None unless the engine records it.
    """

    losses: Array
    grad_norm: Array
    accuracies: Array | None = None


@dataclass(frozen=True)
class Engine:
    """Training of a batch whose networks share all components. It has no state of its own.

    Attributes:
        fixed: hyperparameters in which the cells of a pack cannot differ, with their values.
        records_accuracy: whether traces have accuracies.
    """

    activation: Activation
    norm: Norm
    loss: Loss
    optimizer: Optimizer
    mitigations: tuple[Mitigation, ...] = ()
    fixed: tuple[tuple[str, Any], ...] = ()
    records_accuracy: bool = False

    @classmethod
    def of(cls, components: Components, config: CellConfig, records_accuracy: bool = False) -> Engine:
        """Return the engine of a cell with these components."""
        names = [name for name in components.hyper() if not FIELDS[name].packable]
        return cls(
            components.activation,
            components.norm,
            components.loss,
            components.optimizer,
            components.mitigations,
            tuple((name, getattr(config, name)) for name in names),
            records_accuracy,
        )

    @property
    def graphable(self) -> bool:
        """Whether its steps can be recorded once and replayed: they do the same whatever the numbers are."""
        return all(mitigation.graphable for mitigation in self.mitigations)

    @cached_property
    def _gradient_hooks(self) -> list[tuple[int, Mitigation]]:
        return self._with_hook("on_gradient")

    @cached_property
    def _step_hooks(self) -> list[tuple[int, Mitigation]]:
        return self._with_hook("after_step")

    def _with_hook(self, name: str) -> list[tuple[int, Mitigation]]:
        unchanged = getattr(BaseMitigation, name)
        return [pair for pair in enumerate(self.mitigations) if getattr(type(pair[1]), name) is not unchanged]

    def init(self, parameters: Parameters) -> TrainingState:
        """Return the state before the first update. It shares the memory of `parameters`."""
        if not parameters.norm_arrays():
            norms = [self.norm.init(bias) for bias in parameters.biases[:-1]]
            parameters = Parameters(parameters.weights, parameters.biases, norms)
        states = [mitigation.init(parameters.weights, parameters.biases) for mitigation in self.mitigations]
        return TrainingState(parameters, self.new_memory(parameters), states)

    def new_memory(self, parameters: Parameters) -> list[list[ParameterState]]:
        """Return the optimizer's memory before the first update."""
        layers = len(parameters.weights)
        return [
            [
                self.optimizer.init(array, role_of(place, layer == layers - 1))
                for place, array in enumerate(parameters.of_layer(layer))
            ]
            for layer in range(layers)
        ]

    def forward(self, parameters: Parameters, x: Array, keep_pre: bool = False) -> ForwardPass:
        """Compute z_l = norm(a_(l-1) W_l + b_l), a_l = f(z_l), s = a_L W_out + b_out.

        Args:
            parameters: W and b of the glossary.
            x: as in the glossary.
            keep_pre: whether to keep z_l even if the activation's `backward` does not need it.
        """
        value, normalise = self.activation.value, self.norm.forward
        keep_pre = keep_pre or self.activation.keeps_z
        inputs: list[Array] = [x]
        pre: list[Array | None] = []
        kept: list[Any] = []
        output = len(parameters.weights) - 1
        for layer in range(output):
            z, for_backward = normalise(_affine(parameters, layer, inputs[-1]), parameters.norms[layer])
            pre.append(z if keep_pre else None)
            kept.append(for_backward)
            inputs.append(value(z))
        return ForwardPass(inputs, pre, kept, _affine(parameters, output, inputs[-1]))

    def backward(
        self, parameters: Parameters, y: Array, ones: Array, passed: ForwardPass
    ) -> Iterator[tuple[int, list[Array]]]:
        """Compute the loss's gradients layer by layer, from the output layer down.

        Formula, with e_l the derivative by layer l's affine map, e_out that by the logits:
            e_l = norm'((e_(l+1) W_(l+1)^T) * f'(z_l)),  dW_l = a_(l-1)^T e_l,  db_l = sum over points of e_l.

        Args:
            parameters: W and b of the glossary.
            y: targets of the glossary.
            ones: (1, 1, n).
            passed: from `forward`.

        Yields:
            The layer's index, and the gradients of `Parameters.of_layer`, in their shapes. The error of the layer below
            is computed before a layer is yielded, so the caller may update that layer at once.
        """
        through, below_norm, weights = self.activation.backward, self.norm.backward, parameters.weights
        inputs, pre = passed.inputs, passed.pre
        error = self.loss.error(passed.logits, y)
        norm_gradients: dict[str, Array] = {}
        for layer in range(len(weights) - 1, -1, -1):
            gradients = [inputs[layer].mT @ error, ones @ error]  # a product sums over points in half of the time
            if norm_gradients:
                gradients += [norm_gradients[name] for name in parameters.norms[layer]]
            if layer > 0:
                error = through(_below(error, weights[layer]), pre[layer - 1], inputs[layer])
                error, norm_gradients = below_norm(error, parameters.norms[layer - 1], passed.kept[layer - 1])
            yield layer, gradients

    def step(
        self,
        state: TrainingState,
        points: tuple[Array, Array, Array],
        hyper: Mapping[str, Any],
        draws: Draws | None = None,
        squares: list[Array] | None = None,
    ) -> ForwardPass:
        """Update every network once, in place. Mitigations that act after an update are left to `train`.

        Args:
            state: of the networks.
            points: x and y of the glossary, and ones (1, 1, n).
            hyper: of the optimizer and the mitigations.
            draws: what mitigations draw from.
            squares: if given, the sums of squares of the hidden layers' gradients are appended, each of shape (P,).

        Returns:
            The forward pass before the update.
        """
        parameters, memory, update = state.parameters, state.memory, self.optimizer.update
        x, y, ones = points
        passed = self.forward(parameters, x)
        output = len(parameters.weights) - 1
        for layer, gradients in self.backward(parameters, y, ones, passed):
            if squares is not None and layer != output:
                squares += [_sum_of_squares(gradient) for gradient in gradients[:2]]
            arrays = zip(parameters.of_layer(layer), gradients, memory[layer], strict=True)
            for place, (parameter, gradient, remembered) in enumerate(arrays):
                if self._gradient_hooks:
                    assert draws is not None
                    at = ParameterGradient(layer, place, parameter, gradient, draws)
                    for index, mitigation in self._gradient_hooks:
                        mitigation.on_gradient(at, state.mitigations[index], hyper)
                    gradient = at.gradient
                update(parameter, gradient, remembered, hyper, role_of(place, layer == output))
        return passed

    def train(self, state: TrainingState, task: TaskArrays, steps: int) -> TrainingTrace:
        """Update every network `steps` times on points of its own task, in place. `steps` is at least 1."""
        xp = array_namespace(task.x)
        hyper = {**dict(self.fixed), **task.hyper}
        squares: list[Array] = []
        losses, accuracies = [], []
        size = task.steps_per_block
        for start in range(0, steps, size):
            xs, ys = task.points(start, min(start + size, steps))
            logits = []
            for index, (x, y) in enumerate(zip(xs, ys, strict=True)):
                first = start + index == 0
                passed = self.step(state, (x, y, task.ones), hyper, task.draws, squares if first else None)
                logits.append(passed.logits)
                if self._step_hooks:
                    networks = self._networks(state, passed, task)
                    for place, mitigation in self._step_hooks:
                        mitigation.after_step(networks, state.mitigations[place], hyper)
            answers, targets = xp.stack(logits), task.y if task.order is None else ys
            losses.append(self.loss.value(answers, targets))
            accuracies += [self.loss.accuracy(answers, targets)] if self.records_accuracy else []
        grad_norm = xp.sqrt(xp.sum(xp.stack(squares, axis=-1), axis=-1))
        return TrainingTrace(xp.concat(losses), grad_norm, xp.concat(accuracies) if accuracies else None)

    def after_task(self, state: TrainingState, task: TaskArrays, passed: ForwardPass, number: int) -> None:
        """Let mitigations act on networks whose `number`th task has been measured, in place.

        Args:
            state: of the networks.
            task: the task.
            passed: the forward pass of all its points after the last update.
            number: of the task, from 1.
        """
        hyper = {**dict(self.fixed), **task.hyper}
        for place, mitigation in self._with_hook("after_task"):
            networks = self._networks(state, passed, task)
            mitigation.after_task(networks, state.mitigations[place], hyper, number)

    def _networks(self, state: TrainingState, passed: ForwardPass, task: TaskArrays) -> Networks:
        assert task.draws is not None
        weights, biases, norms = state.parameters.weights, state.parameters.biases, state.parameters.norms
        expansion = self.activation.expansion
        return Networks(weights, biases, norms, state.memory, passed.inputs[1:], task.draws, expansion)


def _sum_of_squares(array: Array) -> Array:
    """Return each network's sum, (P,). Over two axes at once, NumPy's rounding would depend on P."""
    xp = array_namespace(array)
    return xp.sum(xp.reshape(array * array, (array.shape[0], -1)), axis=-1)


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
