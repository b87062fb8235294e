"""Mitigations: what is done to a network against loss of plasticity. Cells combine them in the order of this list."""

from lop_sweep.components.mitigations.mitigation import (
    BaseMitigation,
    Draws,
    Mitigation,
    MitigationState,
    Networks,
    ReferenceDraws,
    ReferenceMitigation,
    replace_units,
)

__all__ = [
    "BaseMitigation",
    "Draws",
    "Mitigation",
    "MitigationState",
    "Networks",
    "ReferenceDraws",
    "ReferenceMitigation",
    "replace_units",
]
