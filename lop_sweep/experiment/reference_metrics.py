"""Metrics in plain PyTorch, for one network: the second implementation of those that are not trivially one line."""

from __future__ import annotations

from collections.abc import Callable

import torch

from lop_sweep.experiment.network import MLP
from lop_sweep.metrics import PRODUCTS, SATURATION_THRESHOLD, Observation, start_vector

Loss = Callable[[torch.Tensor, torch.Tensor], torch.Tensor]


def _saturation(z: torch.Tensor) -> float:
    return float((z.abs() > SATURATION_THRESHOLD).double().mean())


def _effective_rank(z: torch.Tensor) -> float:
    z = z / z.abs().max().clamp(min=1e-300)  # the rank does not depend on the scale, but squares could overflow
    centred = z - z.mean(dim=0)
    eigenvalues = torch.linalg.eigvalsh(centred.T @ centred / (len(z) - 1)).clamp(min=0)
    if eigenvalues.sum() == 0:
        return 1.0
    p = eigenvalues / eigenvalues.sum()
    p = p[p > 0]
    return float(torch.exp(-(p * p.log()).sum()))


def _duplicate_fraction(a: torch.Tensor, threshold: float) -> float:
    return float((_correlation(a) > threshold).triu(diagonal=1).any(dim=0).double().mean())


def _duplicate_fraction_any(a: torch.Tensor, threshold: float) -> float:
    return float((_correlation(a).fill_diagonal_(0.0) > threshold).any(dim=0).double().mean())


def _correlation(a: torch.Tensor) -> torch.Tensor:
    return torch.corrcoef(a.T).reshape(a.shape[1], a.shape[1]).nan_to_num(nan=0.0).abs()


def _activation_effective_rank(a: torch.Tensor) -> float:
    p = torch.linalg.svdvals(a)
    p = p[p > 0] / p.sum()
    return float(torch.exp(-(p * p.log()).sum()))


def _srank(a: torch.Tensor) -> float:
    values = torch.linalg.svdvals(a)
    if values.sum() == 0:
        return 1.0
    return 1.0 + float((values.cumsum(0) / values.sum() < 0.99 - 1e-12).sum())


def _stable_rank(a: torch.Tensor) -> float:
    largest = torch.linalg.matrix_norm(a, ord=2)
    return float((torch.linalg.matrix_norm(a) / largest) ** 2) if largest > 0 else 1.0


def _dormant_units(a: torch.Tensor) -> float:
    size = a.abs().mean(dim=0) / a.abs().max().clamp(min=1e-300)
    return float((size / (size.mean() + 1e-9) <= 0.1).double().mean())


def _frozen_units(slopes: torch.Tensor) -> float:
    return float(((slopes.abs() < 0.05).double().mean(dim=0) > 0.98).double().mean())


def _distance(task: Observation, since: str) -> float:
    pairs = zip(task.parameters or (), getattr(task, since), strict=True)
    return float(torch.linalg.vector_norm(torch.cat([(now - then).flatten() for now, then in pairs])))


def slopes_of(activation: Callable[[torch.Tensor], torch.Tensor], z: torch.Tensor) -> torch.Tensor:
    """Return f'(z) by autograd; of an activation with several features per unit, that of their sum."""
    z = z.detach().requires_grad_()
    with torch.enable_grad():
        (slopes,) = torch.autograd.grad(activation(z).sum(), z)
    return slopes


def _gradient_norm(network: MLP, loss: Loss, x: torch.Tensor, y: torch.Tensor, first: slice | list[int]) -> float:
    gradients = torch.autograd.grad(loss(network(x[first])[0], y[first]), list(network.parameters()))
    return float(torch.linalg.vector_norm(torch.cat([gradient.flatten() for gradient in gradients])))


def _gradient_variance(network: MLP, loss: Loss, x: torch.Tensor, y: torch.Tensor, first: slice | list[int]) -> float:
    """Make every point's gradient, from the inputs and the derivatives by the outputs of each layer."""
    passed: list[tuple[torch.Tensor, torch.Tensor]] = []
    hooks = [
        layer.register_forward_hook(lambda _, inputs, output: passed.append((inputs[0], output)))
        for layer in network.layers()
    ]
    errors = torch.autograd.grad(loss(network(x)[0], y), [output for _, output in passed])
    for hook in hooks:
        hook.remove()
    gradients = []
    for (inputs, _), error in zip(passed, errors, strict=True):
        gradients += [len(x) * torch.einsum("ni,no->nio", inputs, error).flatten(1), len(x) * error]
    every = torch.cat(gradients, dim=1).detach()
    return float((every - every.mean(dim=0)).square().sum(dim=1).mean())


def _sharpness(network: MLP, loss: Loss, x: torch.Tensor, y: torch.Tensor, first: slice | list[int]) -> float:
    """Project the Hessian onto the space of its products with the start vector, and return the largest eigenvalue."""
    layers = network.layers()
    parameters = (
        [layer.weight for layer in layers] + [layer.bias for layer in layers] + list(network.norms.parameters())
    )

    def flat(arrays: list[torch.Tensor] | tuple[torch.Tensor, ...]) -> torch.Tensor:
        return torch.cat([array.T.flatten() if array.ndim == 2 else array.flatten() for array in arrays])

    gradient = flat(torch.autograd.grad(loss(network(x)[0], y), parameters, create_graph=True))

    def product(v: torch.Tensor) -> torch.Tensor:
        return flat(torch.autograd.grad(gradient @ v, parameters, retain_graph=True, materialize_grads=True))

    vectors, products = [torch.from_numpy(start_vector(len(gradient)))], []
    for _ in range(min(PRODUCTS, len(gradient))):
        basis = torch.linalg.qr(torch.stack(vectors, dim=1))[0]
        products.append(product(basis[:, -1]))
        vectors.append(products[-1])
    projected = basis.T @ torch.stack(products, dim=1)
    return float(torch.linalg.eigvalsh((projected + projected.T) / 2)[-1])


AT_START: dict[str, Callable[[MLP, Loss, torch.Tensor, torch.Tensor, slice | list[int]], float]] = {
    "gradient_norm": _gradient_norm,
    "gradient_variance": _gradient_variance,
    "sharpness": _sharpness,
}
"""Metrics of the network before a task's first update: of the network, its loss, all points and targets, and which of
these the first update takes."""

PLAIN: dict[str, Callable[[Observation], float | list[float]]] = {
    "min_ce": lambda task: float(task.losses.min()),
    "final_ce": lambda task: float(task.losses[-1]),
    "start_ce": lambda task: float(task.losses[0]),
    "end_ce": lambda task: float(task.end_loss),
    "online_ce": lambda task: float(task.losses.mean()),
    "saturation": lambda task: sum(_saturation(z) for z in task.pre[0]) / len(task.pre[0]),
    "grad_norm": lambda task: float(task.grad_norm),
    "effective_rank": lambda task: [_effective_rank(z) for z in task.pre[0]],
    "duplicate_fraction": lambda task: [_duplicate_fraction(a, float(task.corr_thresh)) for a in task.post[0]],
    "duplicate_fraction_any": lambda task: [_duplicate_fraction_any(a, float(task.corr_thresh)) for a in task.post[0]],
    "activation_effective_rank": lambda task: [_activation_effective_rank(a) for a in task.post[0]],
    "srank": lambda task: [_srank(a) for a in task.post[0]],
    "stable_rank": lambda task: [_stable_rank(a) for a in task.post[0]],
    "dead_units": lambda task: [float((a == 0).all(dim=0).double().mean()) for a in task.post[0]],
    "dormant_units": lambda task: [_dormant_units(a) for a in task.post[0]],
    "frozen_units": lambda task: [_frozen_units(slopes) for slopes in task.slopes[0]],  # type: ignore[index]
    "weight_norm": lambda task: [float(torch.linalg.matrix_norm(weight)) for weight in task.weights or ()],
    "distance_moved": lambda task: _distance(task, "start"),
    "distance_from_init": lambda task: _distance(task, "initial"),
    "logit_scale": lambda task: float(task.logits.square().mean().sqrt()),
}
"""Metrics that have an implementation of their own here. The others are computed by `Metric.compute` on tensors."""
