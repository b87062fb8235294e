"""What metrics are computed from beyond a task's trace: observed for a batch of networks, and only if asked for."""

from __future__ import annotations

from collections.abc import Sequence, Set
from typing import Any

from lop_sweep.array_api import Array, array_namespace
from lop_sweep.experiment.engine import Engine, Parameters, TaskArrays


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

        def gradient_at(arrays: Sequence[Array]) -> list[Array]:
            return loss_gradient(engine, _arranged(arrays, parameters), x, y)

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
        xp = array_namespace(post)
        found["slopes"] = engine.activation.backward(xp.ones_like(post), pre, post)
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


class _PointByPoint:
    """In place of the ones by which the engine sums errors over points to the gradient of the biases: no sum."""

    def __matmul__(self, errors: Array) -> Array:
        return errors


def _arranged(arrays: Sequence[Array], like: Parameters) -> Parameters:
    """Return arrays in the order of `Parameters.arrays` as parameters of the same structure."""
    layers, rest = len(like.weights), iter(arrays[2 * len(like.weights) :])
    norms = [{name: next(rest) for name in norm} for norm in like.norms]
    return Parameters(list(arrays[:layers]), list(arrays[layers : 2 * layers]), norms)
