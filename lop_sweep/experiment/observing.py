"""What metrics are computed from beyond a task's trace: observed for a batch of networks, and only if asked for."""

from __future__ import annotations

from collections.abc import Sequence, Set
from dataclasses import replace
from typing import Any

from lop_sweep.array_api import Array, array_namespace
from lop_sweep.components import Activation
from lop_sweep.experiment.engine import Engine, Parameters, TaskArrays

_STEP = 1e-5
"""Half the distance over which slopes are compared for the second derivative of an activation."""
_JUMP = 1e-3
"""A larger change of the slope over this distance is a kink: second derivatives are far below `_JUMP / _STEP`."""


def observe_start(engine: Engine, parameters: Parameters, task: TaskArrays, needs: Set[str]) -> dict[str, Any]:
    """Return what metrics need to know of the networks before a task's first update, by attribute of `Observation`."""
    found: dict[str, Any] = {}
    if "start" in needs:
        found["start"] = in_float64(parameters.arrays())
    if "gradient" in needs:
        (x, *_), (y, *_) = task.points(0, 1)
        found["gradient"] = loss_gradient(engine, parameters, x, y)
    if "point_gradients" in needs:
        found["point_gradients"] = point_gradients(engine, parameters, task.x, task.y)
    if "gradient_at" in needs:
        xp = array_namespace(task.x)
        x, y = (xp.astype(array, xp.float64) for array in (task.x, task.y))

        passed = engine.forward(_arranged(in_float64(parameters.arrays()), parameters), x, keep_pre=True)
        expanded: Any = _SecondOrder(engine.activation, passed.pre, passed.inputs[1:])
        smooth = replace(engine, activation=expanded)

        def gradient_at(arrays: Sequence[Array]) -> list[Array]:
            return loss_gradient(smooth, _arranged(arrays, parameters), x, y)

        found["gradient_at"] = gradient_at
    return found


def observe_end(engine: Engine, parameters: Parameters, pre: Array, post: Array, needs: Set[str]) -> dict[str, Any]:
    """Return the same after its last update.

    Args:
        engine: of the networks.
        parameters: of the networks.
        pre, post: as in `Observation`.
        needs: what is asked for.
    """
    found: dict[str, Any] = {}
    if "weights" in needs:
        found["weights"] = parameters.weights[:-1]
    if "parameters" in needs:
        found["parameters"] = parameters.arrays()
    if "slopes" in needs:
        found["slopes"] = engine.activation.slope(pre, post)
    return found


def in_float64(arrays: Sequence[Array]) -> list[Array]:
    """Return copies in float64."""
    xp = array_namespace(arrays[0])
    return [xp.astype(array, xp.float64, copy=True) for array in arrays]


def loss_gradient(engine: Engine, parameters: Parameters, x: Array, y: Array) -> list[Array]:
    """Return the gradient of the loss on these points by each array, in the order of `Parameters.arrays`."""
    xp = array_namespace(x)
    ones = xp.ones((1, 1, y.shape[-2]), dtype=y.dtype, device=y.device)
    gradients = dict(engine.backward(parameters, y, ones, engine.forward(parameters, x)))
    layers = [gradients[layer] for layer in range(len(parameters.weights))]
    of_norms = [gradient for layer in layers for gradient in layer[2:]]
    return [*(layer[0] for layer in layers), *(layer[1] for layer in layers), *of_norms]


def point_gradients(engine: Engine, parameters: Parameters, x: Array, y: Array) -> list[tuple[Array, Array]]:
    """Return each layer's inputs and its errors, the derivatives of the loss by its affine map, point by point."""
    passed = engine.forward(parameters, x)
    errors = {layer: gradients[1] for layer, gradients in engine.backward(parameters, y, _PointByPoint(), passed)}
    return [(inputs, errors[layer]) for layer, inputs in enumerate(passed.inputs)]


class _SecondOrder:
    """An activation expanded to second order at the pre-activations of one pass of the engine.

    There it has the value and the first two derivatives of the activation, and no kinks nearby. Each feature is
    a + s (z - z_0) + c (z - z_0)^2 / 2. The engine asks for one layer after the other, and on the way back in reverse.
    """

    keeps_z = True

    def __init__(self, activation: Activation, pre: Sequence[Array | None], post: Sequence[Array]) -> None:
        self.expansion = activation.expansion
        layers = zip(pre, post, strict=True)
        self._terms = [(z, a, *_derivatives(activation, z, a)) for z, a in layers if z is not None]
        self._layer = 0

    def value(self, z: Array) -> Array:
        centre, a, slopes, curvatures = self._terms[self._layer]
        self._layer += 1
        by, pairs = z - centre, zip(slopes, curvatures, strict=True)
        return a + array_namespace(z).concat([by * (s + c / 2 * by) for s, c in pairs], axis=-1)

    def backward(self, error: Array, z: Array, a: Array) -> Array:
        self._layer -= 1
        centre, _, slopes, curvatures = self._terms[self._layer]
        by, width = z - centre, z.shape[-1]
        parts = [
            error[..., place * width : (place + 1) * width] * (s + c * by)
            for place, (s, c) in enumerate(zip(slopes, curvatures, strict=True))
        ]
        return sum(parts[1:], parts[0])


def _derivatives(activation: Activation, z: Array, a: Array) -> tuple[list[Array], list[Array]]:
    """Return the first and second derivatives of each feature of a unit, all in the shape of z.

    The second is a central difference of the first, at a kink one beside it, on the side to which the slope belongs.
    """
    xp = array_namespace(z)

    def slopes(at: Array) -> list[Array]:
        values = activation.value(at)
        ones, zeros = xp.ones_like(at), xp.zeros_like(at)
        places = range(activation.expansion)
        chosen = [xp.concat([ones if one == place else zeros for one in places], axis=-1) for place in places]
        return [activation.backward(error, at, values) for error in chosen]

    here, above, below = slopes(z), slopes(z + _STEP), slopes(z - _STEP)
    far_above, far_below = slopes(z + 3 * _STEP), slopes(z - 3 * _STEP)
    curvatures = []
    for s, up, down, far_up, far_down in zip(here, above, below, far_above, far_below, strict=True):
        beside = xp.where(xp.abs(far_up - s) < _JUMP, far_up - up, down - far_down)
        beside = xp.where(xp.abs(beside) < _JUMP, beside, xp.zeros_like(beside))
        curvatures.append(xp.where(xp.abs(up - down) < _JUMP, up - down, beside) / (2 * _STEP))
    return here, curvatures


class _PointByPoint:
    """In place of the ones by which the engine sums errors over points to the gradient of the biases: no sum."""

    def __matmul__(self, errors: Array) -> Array:
        return errors


def _arranged(arrays: Sequence[Array], like: Parameters) -> Parameters:
    """Return arrays in the order of `Parameters.arrays` as parameters of the same structure."""
    layers, rest = len(like.weights), iter(arrays[2 * len(like.weights) :])
    norms = [{name: next(rest) for name in norm} for norm in like.norms]
    return Parameters(list(arrays[:layers]), list(arrays[layers : 2 * layers]), norms)
