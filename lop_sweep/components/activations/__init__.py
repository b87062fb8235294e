"""Activations of the hidden layers: value and derivative for the engine, and the function of the reference."""

from lop_sweep.components.activations.activation import Activation, BaseActivation
from lop_sweep.components.activations.bounded import Erf, Sigmoid, Tanh
from lop_sweep.components.activations.unbounded import ELU, GELU, SELU, CReLU, Identity, LeakyReLU, ReLU, SiLU

__all__ = [
    "ELU",
    "GELU",
    "SELU",
    "Activation",
    "BaseActivation",
    "CReLU",
    "Erf",
    "Identity",
    "LeakyReLU",
    "ReLU",
    "SiLU",
    "Sigmoid",
    "Tanh",
]
