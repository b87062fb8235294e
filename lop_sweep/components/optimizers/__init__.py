"""Optimizers: the update of the engine, in place, and the optimizer of the reference."""

from lop_sweep.components.optimizers.optimizer import Optimizer, ParameterState, Role, role_of

# isort: split
# Listings have the order of registration, which is that of these imports.
from lop_sweep.components.optimizers import gradient_descent  # noqa: F401

# isort: split
from lop_sweep.components.optimizers import adam  # noqa: F401

# isort: split
from lop_sweep.components.optimizers import rmsprop  # noqa: F401

# isort: split
from lop_sweep.components.optimizers import muon  # noqa: F401

__all__ = ["Optimizer", "ParameterState", "Role", "role_of"]
