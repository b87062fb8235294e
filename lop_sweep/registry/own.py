"""Components of a user's own: how they are identified, and how a configuration names those that it uses.

A configuration field holds, for each of its own components, "KIND NAME VERSION DIGEST", separated by commas:

    activation my_relu 1 0123456789abcdef,metric my_metric 2 fedcba9876543210

The digest is the start of the SHA-256 of `OwnComponent.definition`.
"""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass
from typing import NamedTuple

from lop_sweep.errors import ConfigError, safe_repr

NAME = re.compile(r"[A-Za-z_][\w.+-]{0,59}", re.ASCII)
"""What a component of a user's own may be called."""
VERSION = re.compile(r"[\w.+-]{1,40}", re.ASCII)
"""What its version may be."""
_USED = re.compile(rf"([a-z]+) ({NAME.pattern}) ({VERSION.pattern}) ([0-9a-f]{{16}})", re.ASCII)


@dataclass(frozen=True)
class OwnComponent:
    """A component that is not part of lop-sweep.

    Attributes:
        kind, name: see `register`.
        version: that its author gave it.
        definition: the text of its class, see `lop_sweep.registry.source`.
        cls: its class.
    """

    kind: str
    name: str
    version: str
    definition: str
    cls: type

    @property
    def digest(self) -> str:
        """16 hexadecimal digits: the start of the SHA-256 of the definition."""
        return hashlib.sha256(self.definition.encode()).hexdigest()[:16]

    @property
    def used(self) -> Used:
        """How a configuration names it."""
        return Used(self.kind, self.name, self.version, self.digest)


class Used(NamedTuple):
    """A component of a user's own, as a configuration names it."""

    kind: str
    name: str
    version: str
    digest: str

    def __str__(self) -> str:
        return " ".join(self)


def parse_used(text: str) -> list[Used]:
    """Return the components that the field `own_components` names.

    Raises:
        ConfigError: it has another form.
    """
    found = [_USED.fullmatch(part) for part in text.split(",")] if text else []
    if not all(found):
        raise ConfigError(
            f"own_components = {safe_repr(text)[:200]}: must be KIND NAME VERSION DIGEST of each component of your "
            "own; it is filled in automatically, so leave it out"
        )
    return [Used(*match.groups()) for match in found if match]
