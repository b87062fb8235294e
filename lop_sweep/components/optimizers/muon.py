"""The two published optimizers by the name of Muon: updates of matrices are made orthogonal."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from lop_sweep.array_api import Array, array_namespace
from lop_sweep.components.optimizers.adam import decay_weights, init_adam, update_adam
from lop_sweep.components.optimizers.newton_schulz import orthogonalize
from lop_sweep.components.optimizers.optimizer import ParameterState, Role
from lop_sweep.config import CellConfig
from lop_sweep.registry import register

if TYPE_CHECKING:
    import torch
    from torch import nn

BETAS, EPS = (0.9, 0.95), 1e-10
"""Of `muon`'s Adam, as published."""


@register("optimizer", "muon")
class Muon:
    """M <- mu M + (1 - mu) dW, W <- W - lr (weight_decay W + sqrt(max(1, fan_out / fan_in)) NS(mu M + (1 - mu) dW)).

    mu is muon_momentum. NS makes a matrix orthogonal by five steps of a Newton-Schulz iteration, with eps = 1e-7
    (`orthogonalize`). Only the weights of hidden layers are updated so, those of the first layer included. The output
    layer, biases and normalisations are updated by AdamW with the learning rate adam_lr, the same weight decay, and
    betas of 0.9 and 0.95 and eps = 1e-10 as published.

    Source: K. Jordan and others, "Muon: An optimizer for hidden layers in neural networks", 2024, and their repository
    KellerJordan/Muon (`SingleDeviceMuonWithAuxAdam`, with lr = 0.02), here in the networks' precision, not bfloat16.
    """

    name: str
    hyper = ("lr", "muon_momentum", "adam_lr", "weight_decay")

    def init(self, parameter: Array, role: Role) -> ParameterState:
        """Return M = 0 of hidden weights, Adam's state of others."""
        if role == "hidden":
            return {"momentum": array_namespace(parameter).zeros_like(parameter)}
        return init_adam(parameter)

    def update(
        self, parameter: Array, gradient: Array, state: ParameterState, hyper: Mapping[str, Any], role: Role
    ) -> None:
        """Do Muon's update of hidden weights, AdamW's of others."""
        if role != "hidden":
            decay_weights(parameter, hyper["adam_lr"], hyper["weight_decay"])
            update_adam(parameter, gradient, state, hyper["adam_lr"], *BETAS, EPS)
            return
        average, mu, lr = state["momentum"], hyper["muon_momentum"], hyper["lr"]
        gradient *= 1 - mu
        average *= mu
        average += gradient
        gradient += mu * average
        step = orthogonalize(gradient, 1e-7)
        step *= lr * math.sqrt(max(1.0, parameter.shape[-1] / parameter.shape[-2]))
        decay_weights(parameter, lr, hyper["weight_decay"])
        parameter -= step

    def torch(self, network: nn.Module, config: CellConfig) -> torch.optim.Optimizer:
        """Return the same in plain PyTorch."""
        from lop_sweep.components.optimizers.muon_reference import ReferenceMuon

        return ReferenceMuon(network, config)


@register("optimizer", "muon_simple_lop")
class MuonSimpleLop:
    """M <- mu M + dW, W <- W - lr (weight_decay W + 0.2 sqrt(max(fan_in, fan_out)) NS(M)), for every matrix.

    mu is muon_momentum. NS makes a matrix orthogonal by five steps of a Newton-Schulz iteration, with eps = 1e-12
    (`orthogonalize`). The output layer's weights are a matrix too. Biases and normalisations are updated by AdamW with
    the same lr and weight decay, and with beta1, beta2 and eps.

    Source: the repository ajoudaki/simple-lop (`lop_fixed_regime.py`), which follows J. Liu and others, "Muon is
    Scalable for LLM Training", arXiv 2502.16982, 2025.
    """

    name: str
    hyper = ("lr", "muon_momentum", "beta1", "beta2", "eps", "weight_decay")

    def init(self, parameter: Array, role: Role) -> ParameterState:
        """Return M = 0 of weights, Adam's state of others."""
        if role in ("hidden", "output"):
            return {"momentum": array_namespace(parameter).zeros_like(parameter)}
        return init_adam(parameter)

    def update(
        self, parameter: Array, gradient: Array, state: ParameterState, hyper: Mapping[str, Any], role: Role
    ) -> None:
        """Do Muon's update of weights, AdamW's of others."""
        lr = hyper["lr"]
        decay_weights(parameter, lr, hyper["weight_decay"])
        if role not in ("hidden", "output"):
            update_adam(parameter, gradient, state, lr, hyper["beta1"], hyper["beta2"], hyper["eps"])
            return
        total = state["momentum"]
        total *= hyper["muon_momentum"]
        total += gradient
        step = orthogonalize(total, 1e-12)
        step *= lr * (0.2 * math.sqrt(max(parameter.shape[-2:])))
        parameter -= step

    def torch(self, network: nn.Module, config: CellConfig) -> torch.optim.Optimizer:
        """Return the same in plain PyTorch."""
        from lop_sweep.components.optimizers.muon_reference import ReferenceMuonSimpleLop

        return ReferenceMuonSimpleLop(network, config)
