"""Mitigations: what is done to a network against loss of plasticity.

Cells combine them. They act in the order of the imports below: penalties, noise, shrinking, orthogonal weights, and
last what is drawn anew, so that nothing disturbs replaced units at the step of their replacement.
"""
# ruff: noqa: I001

from lop_sweep.components.mitigations.mitigation import (
    BaseMitigation,
    Draws,
    Mitigation,
    MitigationState,
    Networks,
    ParameterGradient,
    ReferenceDraws,
    ReferenceMitigation,
)
from lop_sweep.components.mitigations.replacement import (
    fresh_norm,
    per_unit,
    replace_in_layers,
    replace_reference_units,
    replace_units,
    to_host,
)
from lop_sweep.components.mitigations import l2_init  # noqa: F401
from lop_sweep.components.mitigations import parseval  # noqa: F401
from lop_sweep.components.mitigations import spectral  # noqa: F401
from lop_sweep.components.mitigations import noise  # noqa: F401
from lop_sweep.components.mitigations import shrink_perturb  # noqa: F401
from lop_sweep.components.mitigations import fire  # noqa: F401
from lop_sweep.components.mitigations import swr  # noqa: F401
from lop_sweep.components.mitigations import continual_backprop  # noqa: F401
from lop_sweep.components.mitigations import redo  # noqa: F401

__all__ = [
    "BaseMitigation",
    "Draws",
    "Mitigation",
    "MitigationState",
    "Networks",
    "ParameterGradient",
    "ReferenceDraws",
    "ReferenceMitigation",
    "fresh_norm",
    "per_unit",
    "replace_in_layers",
    "replace_reference_units",
    "replace_units",
    "to_host",
]
