"""Components by kind and name: activations, optimizers, metrics, and everything else that is chosen by name.

    @register("activation", "tanh")
    class Tanh:
        ...

    component("activation", "tanh")  # the instance of Tanh

A component is found by its name, never by an `if` ladder. It is available as soon as it is registered.

Components of a user's own are registered in the same way, with a version. They are part of the identity of the cells
that use them, see `own`.
"""

from lop_sweep.registry.own import OwnComponent, Used, parse_used
from lop_sweep.registry.registered import (
    KINDS,
    adopt,
    component,
    components,
    has_own,
    is_recorded,
    isolated,
    own_component,
    own_components_of,
    record,
    register,
)

__all__ = [
    "KINDS",
    "OwnComponent",
    "Used",
    "adopt",
    "component",
    "components",
    "has_own",
    "is_recorded",
    "isolated",
    "own_component",
    "own_components_of",
    "parse_used",
    "record",
    "register",
]
