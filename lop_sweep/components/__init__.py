"""What an experiment is made of, each chosen by name: activations, optimizers, task streams and so on.

Importing this folder does not import PyTorch. Methods named `torch` do: they return the reference's counterpart.
"""

from lop_sweep.components.activations import Activation, BaseActivation
from lop_sweep.components.batch_size import batch_bytes, cells_per_batch
from lop_sweep.components.choice import Components, LayerSizes, check, hyperparameters_of, layer_sizes
from lop_sweep.components.initializers import Initializer
from lop_sweep.components.losses import Loss, in_units
from lop_sweep.components.mitigations import (
    BaseMitigation,
    Draws,
    Mitigation,
    MitigationState,
    Networks,
    ParameterGradient,
    ReferenceDraws,
    ReferenceMitigation,
)
from lop_sweep.components.norms import Norm
from lop_sweep.components.optimizers import Optimizer, ParameterState, Role, role_of
from lop_sweep.components.random_streams import Purpose, random_stream
from lop_sweep.components.state_size import component_bytes
from lop_sweep.components.streams import StreamState, Task, TaskStream, draw_tasks

__all__ = [
    "Activation",
    "BaseActivation",
    "BaseMitigation",
    "Components",
    "Draws",
    "Initializer",
    "LayerSizes",
    "Loss",
    "Mitigation",
    "MitigationState",
    "Networks",
    "Norm",
    "Optimizer",
    "ParameterGradient",
    "ParameterState",
    "Purpose",
    "ReferenceDraws",
    "ReferenceMitigation",
    "Role",
    "StreamState",
    "Task",
    "TaskStream",
    "batch_bytes",
    "cells_per_batch",
    "check",
    "component_bytes",
    "draw_tasks",
    "hyperparameters_of",
    "in_units",
    "layer_sizes",
    "random_stream",
    "role_of",
]
