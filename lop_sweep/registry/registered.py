"""What is registered in this process."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from types import MappingProxyType
from typing import Any, TypeVar

from lop_sweep.errors import ConfigError, comma_list, safe_repr, suggestion
from lop_sweep.registry.own import NAME, VERSION, OwnComponent

Component = TypeVar("Component", bound=type)

KINDS = ("activation", "init", "norm", "optimizer", "loss", "stream", "mitigation", "metric")
"""Kinds of components that results depend on. Components of a user's own need a version."""

_PACKAGE = __name__.partition(".")[0]

_registered: dict[str, dict[str, Any]] = {}
_own: dict[tuple[str, str], OwnComponent] = {}
_recorded: set[tuple[str, str]] = set()


def register(kind: str, name: str, version: str = "") -> Callable[[Component], Component]:
    """Return a class decorator that registers an instance of the class.

    A class outside lop-sweep may be registered again under the same name if it is defined at the same place, in a
    notebook for example. Configurations made before are then those of another component.

    Args:
        kind: of the component, for example "activation" or "metric".
        name: how configurations and results refer to it. It becomes the instance's attribute `name`.
        version: of a class outside lop-sweep, for example "1". Change it when something that the class calls changes:
            results are those of a version and of the class's source.

    Raises:
        ValueError: another class is registered under this kind and name.
        ConfigError: a class outside lop-sweep has no version, the name or the version has characters that are not
            allowed, or the source of the class cannot be read.
    """

    def decorate(cls: Component) -> Component:
        if (kind, name) not in _own:
            _refuse_second(kind, name)
        if kind not in KINDS or cls.__module__.partition(".")[0] == _PACKAGE:
            _add(kind, name, cls)
            return cls
        _check_own(kind, name, version)
        from lop_sweep.registry.source import definition_of  # only components of a user's own need it

        own = OwnComponent(kind, name, version, definition_of(cls), cls)
        if not own.definition:
            raise ConfigError(
                f"{kind} {name!r}: the source of {cls.__qualname__} cannot be read, and results are identified by it; "
                "define it in a file or in a notebook"
            )
        _add_own(own)
        return cls

    return decorate


def adopt(own: OwnComponent) -> None:
    """Register a component that was registered in another process, which sent it here.

    Raises:
        ConfigError: the component's module is another one here, or another component has its kind and name.
    """
    here = _own.get((own.kind, own.name))
    if here is None and _is_imported(own.cls):
        from lop_sweep.registry.source import definition_of

        here = OwnComponent(own.kind, own.name, own.version, definition_of(own.cls), own.cls)
    if here is not None and here.used != own.used and _is_imported(own.cls):
        raise ConfigError(
            f"{own.kind} {own.name!r} is version {own.version} ({own.digest}) where the sweep was started, and version "
            f"{here.version} ({here.digest}) here; install the same module {own.cls.__module__} everywhere"
        )
    _add_own(own)


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


def own_component(kind: str, name: str) -> OwnComponent | None:
    """Return what is known of a component of a user's own; None if no such component is registered."""
    return _own.get((kind, name))


def own_components_of(kind: str) -> list[OwnComponent]:
    """Return the components of a user's own of a kind that are registered here."""
    return [own for own in _own.values() if own.kind == kind]


def has_own() -> bool:
    """Return whether any component of a user's own is registered."""
    return bool(_own)


def record(kind: str, name: str, instance: Any) -> None:
    """Make a component known by what results say of it, so that they can be read without its code.

    It is replaced as soon as the component itself is registered. If that has happened already, nothing changes.
    """
    if name in components(kind):
        return
    instance.name = name
    _registered[kind][name] = instance
    _recorded.add((kind, name))


def is_recorded(kind: str, name: str) -> bool:
    """Return whether a component is known only by what results say of it."""
    return (kind, name) in _recorded


@contextmanager
def isolated() -> Iterator[None]:
    """Undo at the end of a `with` block what was registered in it, for tests."""
    registered = {kind: dict(known) for kind, known in _registered.items()}
    own, recorded = dict(_own), set(_recorded)
    try:
        yield
    finally:
        for kind, known in _registered.items():  # views of the dictionaries stay valid
            known.clear()
            known.update(registered.get(kind, {}))
        _own.clear()
        _own.update(own)
        _recorded.clear()
        _recorded.update(recorded)


def _refuse_second(kind: str, name: str) -> None:
    known = components(kind)
    if name in known and not is_recorded(kind, name):
        raise ValueError(f"{kind} {name!r} is already registered by {type(known[name]).__qualname__}")


def _check_own(kind: str, name: str, version: str) -> None:
    if not version:
        raise ConfigError(
            f"{kind} {name!r}: a component of your own needs a version, which identifies its results; "
            f'write @register("{kind}", "{name}", version="1"), and another version whenever its numbers change'
        )
    for what, value, rule in (("name", name, NAME), ("version", version, VERSION)):
        if not isinstance(value, str) or not rule.fullmatch(value):
            raise ConfigError(
                f"{kind} {safe_repr(name)}: its {what} {safe_repr(value)} must be letters, digits and _ . + -"
                + (", beginning with a letter" if what == "name" else "")
            )
    if name == "none":
        raise ConfigError(f"{kind} 'none': stands for no {kind}; choose another name")


def _add_own(own: OwnComponent) -> None:
    earlier = _own.get((own.kind, own.name))
    if earlier is None:
        _refuse_second(own.kind, own.name)
    elif earlier.used != own.used and _place(earlier.cls) != _place(own.cls):
        raise ConfigError(
            f"{own.kind} {own.name!r} is already registered by {'.'.join(_place(earlier.cls))}, which is another one; "
            "choose another name"
        )
    _add(own.kind, own.name, own.cls)
    _own[own.kind, own.name] = own


def _place(cls: type) -> tuple[str, str]:
    return cls.__module__, cls.__qualname__


def _is_imported(cls: type) -> bool:
    """Return whether a class is that of a module, rather than of a script, a notebook or a search-space file."""
    module = sys.modules.get(cls.__module__)
    return cls.__module__ != "__main__" and getattr(module, cls.__qualname__.partition(".")[0], None) is not None


def _add(kind: str, name: str, cls: type) -> None:
    instance = cls()
    instance.name = name
    _registered.setdefault(kind, {})[name] = instance
    _recorded.discard((kind, name))
