"""Both Muons of the reference, in plain PyTorch. Weights are (fan_out, fan_in) here, as `torch.nn.Linear` has them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import nn

from lop_sweep.config import CellConfig


def newton_schulz(matrix: torch.Tensor, eps: float) -> torch.Tensor:
    """Return the fifth iterate of X <- a X + b (X X^T) X + c (X X^T)^2 X from M / (||M||_F + eps)."""
    if matrix.shape[0] > matrix.shape[1]:
        return newton_schulz(matrix.T, eps).T
    x = matrix / (torch.linalg.matrix_norm(matrix) + eps)
    for _ in range(5):
        gram = x @ x.T
        x = 3.4445 * x + (-4.7750 * gram + 2.0315 * gram @ gram) @ x
    return x


class _MatricesAndOthers(torch.optim.Optimizer):
    """An optimizer with one rule for some matrices, and AdamW for all other parameters.

    Args:
        network: the network.
        matrices: the parameters with the rule `update_matrix`.
        config: uses `lr`, `muon_momentum` and `weight_decay`.
        adam: options of AdamW: `lr`, `betas`, `eps`.
    """

    def __init__(
        self, network: nn.Module, matrices: list[nn.Parameter], config: CellConfig, adam: dict[str, Any]
    ) -> None:
        others = [one for one in network.parameters() if all(one is not matrix for matrix in matrices)]
        groups: list[dict[str, Any]] = [
            {"params": matrices, "lr": config.lr, "mu": config.muon_momentum, "rule": self.update_matrix},
            {"params": others, **adam, "rule": _update_adam},
        ]
        super().__init__(groups, {"weight_decay": config.weight_decay})

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> None:  # type: ignore[override]
        """Update all parameters."""
        for group in self.param_groups:
            for parameter in group["params"]:
                parameter.mul_(1 - group["lr"] * group["weight_decay"])
                parameter.sub_(group["lr"] * group["rule"](parameter, self.state[parameter], group))

    @staticmethod
    def update_matrix(matrix: nn.Parameter, state: dict[str, Any], group: dict[str, Any]) -> torch.Tensor:
        """Return what lr is multiplied with."""
        raise NotImplementedError


def _update_adam(parameter: nn.Parameter, state: dict[str, Any], group: dict[str, Any]) -> torch.Tensor:
    assert parameter.grad is not None
    beta1, beta2 = group["betas"]
    if not state:
        state["step"] = 0
        state["exp_avg"], state["exp_avg_sq"] = torch.zeros_like(parameter), torch.zeros_like(parameter)
    state["step"] += 1
    state["exp_avg"].lerp_(parameter.grad, 1 - beta1)
    state["exp_avg_sq"].lerp_(parameter.grad.square(), 1 - beta2)
    mean = state["exp_avg"] / (1 - beta1 ** state["step"])
    square = state["exp_avg_sq"] / (1 - beta2 ** state["step"])
    return mean / (square.sqrt() + group["eps"])


class ReferenceMuon(_MatricesAndOthers):
    """`muon` for a network of `lop_sweep.experiment.network.MLP`."""

    def __init__(self, network: nn.Module, config: CellConfig) -> None:
        hidden: Any = network.hidden
        adam = {"lr": config.adam_lr, "betas": (0.9, 0.95), "eps": 1e-10}
        super().__init__(network, [layer.weight for layer in hidden], config, adam)

    @staticmethod
    def update_matrix(matrix: nn.Parameter, state: dict[str, Any], group: dict[str, Any]) -> torch.Tensor:
        """Return the orthogonalised Nesterov momentum, scaled by the shape."""
        assert matrix.grad is not None
        average = state.setdefault("momentum_buffer", torch.zeros_like(matrix))
        average.lerp_(matrix.grad, 1 - group["mu"])
        fan_out, fan_in = matrix.shape
        return newton_schulz(matrix.grad.lerp(average, group["mu"]), 1e-7) * max(1, fan_out / fan_in) ** 0.5


class ReferenceMuonSimpleLop(_MatricesAndOthers):
    """`muon_simple_lop` for any network: its matrices are the parameters with two axes."""

    def __init__(self, network: nn.Module, config: CellConfig) -> None:
        adam = {"lr": config.lr, "betas": (config.beta1, config.beta2), "eps": config.eps}
        super().__init__(network, [one for one in network.parameters() if one.ndim == 2], config, adam)

    @staticmethod
    def update_matrix(matrix: nn.Parameter, state: dict[str, Any], group: dict[str, Any]) -> torch.Tensor:
        """Return the orthogonalised momentum, scaled by the shape."""
        assert matrix.grad is not None
        total = state.setdefault("momentum_buffer", torch.zeros_like(matrix))
        total.mul_(group["mu"]).add_(matrix.grad)
        return newton_schulz(total, 1e-12) * (0.2 * max(matrix.shape) ** 0.5)
