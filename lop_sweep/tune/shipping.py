"""Send components of a user's own from the driver to the workers.

Classes of a search-space file, a script or a notebook go as they are, with what they refer to. Classes of a module go
by name: every node must be able to import it, and a node with another version of it is refused.
"""

from __future__ import annotations

import textwrap
from collections.abc import Iterable
from typing import Any

from lop_sweep.errors import ConfigError, SweepError, single_line
from lop_sweep.registry import OwnComponent, adopt, own_component, parse_used
from lop_sweep.storage import host_name

_MAX_REASON_CHARACTERS = 300

_adopted: set[str] = set()
"""What this process has taken over, by Ray's ids."""


def own_components_in(fields: Iterable[str]) -> list[OwnComponent]:
    """Return the components that values of `CellConfig.own_components` name, as they are registered here."""
    used = dict.fromkeys(one[:2] for field in set(fields) for one in parse_used(field))
    return [own for own in (own_component(*pair) for pair in used) if own is not None]


def send(components: list[OwnComponent]) -> Any:
    """Put components where workers can get them; return Ray's reference.

    Raises:
        SweepError: this process has no Ray, or a component cannot be pickled.
    """
    import ray

    if not ray.is_initialized():
        raise SweepError("components of your own are sent by Ray, which is not initialised; do this within local_ray()")
    try:
        return ray.put(components)
    except Exception as error:  # whatever a class refers to that cannot be pickled
        names = ", ".join(f"{own.kind} {own.name!r}" for own in components)
        raise SweepError(f"{names}: cannot be sent to the workers: {_reason(error)}") from error


def receive(reference: Any) -> None:
    """Register the components that `send` sent, once per process.

    Raises:
        ConfigError: they cannot be loaded here, or this node has another version of their module.
    """
    import ray

    if reference.hex() in _adopted:
        return
    try:
        components = ray.get(reference)
    except Exception as error:  # whatever loading a class raises
        raise ConfigError(
            f"the components of your own cannot be loaded on {host_name()}: {_reason(error)}; "
            "modules that they are defined in, or use, must be importable on every node"
        ) from error
    for own in components:
        adopt(own)
    _adopted.add(reference.hex())


def _reason(error: BaseException) -> str:
    return textwrap.shorten(single_line(error), _MAX_REASON_CHARACTERS, placeholder=" ...")
