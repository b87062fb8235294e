"""Components by kind and name: activations, optimizers, metrics, and everything else that is chosen by name.

    @register("activation", "tanh")
    class Tanh:
        ...

    component("activation", "tanh")  # the instance of Tanh

A component is found by its name, never by an `if` ladder. It is available as soon as it is registered.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any, TypeVar

from lop_sweep.errors import ConfigError, comma_list, suggestion

Component = TypeVar("Component", bound=type)

_registered: dict[str, dict[str, Any]] = {}


def register(kind: str, name: str) -> Callable[[Component], Component]:
    """Return a class decorator that registers an instance of the class.

    Args:
        kind: of the component, for example "activation" or "metric".
        name: how configurations and results refer to it. It becomes the instance's attribute `name`.

    Raises:
        ValueError: another class is registered under this kind and name.
    """

    def decorate(cls: Component) -> Component:
        known = _registered.setdefault(kind, {})
        if name in known:
            raise ValueError(f"{kind} {name!r} is already registered by {type(known[name]).__qualname__}")
        instance = cls()
        instance.name = name
        known[name] = instance
        return cls

    return decorate


def components(kind: str) -> Mapping[str, Any]:
    """Return a live view of all components of a kind, by name, in the order of their registration."""
    return MappingProxyType(_registered.setdefault(kind, {}))


def component(kind: str, name: str) -> Any:
    """Return the component of this kind and name.

    Raises:
        ConfigError: the name is unknown. The message lists the valid ones.
    """
    known = components(kind)
    if name not in known:
        raise ConfigError(f"unknown {kind} {name!r}{suggestion(name, known)}; choose from: {comma_list(known)}")
    return known[name]
