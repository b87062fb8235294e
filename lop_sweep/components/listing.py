"""What there is to choose from: every component with its definition, its hyperparameters and its source."""

from __future__ import annotations

import inspect
import textwrap
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from lop_sweep.config import FIELDS
from lop_sweep.errors import ConfigError, comma_list, suggestion
from lop_sweep.metrics import METRICS
from lop_sweep.registry import KINDS, components, is_recorded, own_component

_CHOSEN_BY = {
    "activation": "`activation`",
    "init": "`init`",
    "norm": "`norm`",
    "optimizer": "`optimizer`",
    "loss": "the task stream",
    "stream": "`stream`",
    "mitigation": "`mitigation`, one or several",
    "metric": "`metrics`, any number, beside those of every cell",
}
_TITLES = {
    "activation": "Activations",
    "init": "Initial weights",
    "norm": "Normalisations",
    "optimizer": "Optimizers",
    "loss": "Losses",
    "stream": "Task streams",
    "mitigation": "Mitigations",
    "metric": "Metrics",
}
_SOURCE = "Source:"
_MAX_LINE = 100


@dataclass(frozen=True)
class Described:
    """What is known of a component.

    Attributes:
        kind, name: see `lop_sweep.registry.register`.
        definition: a formula or a definition.
        hyperparameters: configuration fields that it uses, with their defaults.
        source: where it comes from; empty if it is lop-sweep's own.
        remark: how its kind uses it, or the version of a component of the user's own; often empty.
    """

    kind: str
    name: str
    definition: str
    hyperparameters: dict[str, Any]
    source: str
    remark: str

    def to_text(self) -> str:
        """Return some lines of text, indented below the name."""
        hyper = comma_list(f"{name} = {value}" for name, value in self.hyperparameters.items())
        rows = [self.definition, f"Hyperparameters: {hyper}." if hyper else "", self.source]
        head = f"{self.name} ({self.remark})" if self.remark else self.name
        return "\n".join([head, *(textwrap.fill(row, _MAX_LINE, initial_indent="    ", subsequent_indent="    ")
                                  for row in rows if row)])  # fmt: skip


def described(wanted: Sequence[str] = (), own: bool = False) -> list[Described]:
    """Return what is known of components, by kind.

    Args:
        wanted: kinds and names; none for all components.
        own: whether to include components of the user's own that are registered.

    Raises:
        ConfigError: there is no such kind or name.
    """
    every = [_describe(kind, name) for kind in KINDS for name in components(kind) if own or _is_built_in(kind, name)]
    known = [*KINDS, *dict.fromkeys(one.name for one in every)]
    for one in wanted:
        if one not in known:
            raise ConfigError(
                f"unknown component {one!r}{suggestion(one, known)}; give a kind ({comma_list(KINDS)}) or a name"
            )
    return [one for one in every if not wanted or one.kind in wanted or one.name in wanted]


def component_text(found: Sequence[Described]) -> Iterator[str]:
    """Yield components as text, a heading per kind and a paragraph per component."""
    for kind in dict.fromkeys(one.kind for one in found):
        yield f"{_TITLES[kind]}, chosen by {_CHOSEN_BY[kind].replace('`', '')}\n"
        for one in found:
            if one.kind == kind:
                yield textwrap.indent(one.to_text(), "  ") + "\n"


def component_table() -> str:
    """Return the docs' tables of all components, in Markdown, one per kind and one row per component."""
    parts = []
    for kind in KINDS:
        rows = [("name", "definition", "hyperparameters", "source"), ("---",) * 4]
        for one in described([kind]):
            hyper = comma_list(f"`{name}` = {value}" for name, value in one.hyperparameters.items())
            name = f"`{one.name}`" + (f" ({one.remark})" if one.remark else "")
            rows.append((name, one.definition, hyper, one.source.removeprefix(_SOURCE).strip()))
        table = "\n".join(f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in row)} |" for row in rows)
        parts.append(
            f"## {_TITLES[kind]}\n\nChosen by {_CHOSEN_BY[kind]}.\n\n" + (table if len(rows) > 2 else "None yet.")
        )
    return "\n\n".join(parts) + "\n"


def _describe(kind: str, name: str) -> Described:
    part = components(kind)[name]
    paragraphs = [" ".join(text.split()) for text in inspect.cleandoc(type(part).__doc__ or "").split("\n\n")]
    source = next((text for text in paragraphs if text.startswith(_SOURCE)), "")
    fields = {field: FIELDS[field].default for field in getattr(part, "hyper", ()) if field in FIELDS}
    return Described(kind, name, paragraphs[0], fields, source, _remark(kind, name))


def _remark(kind: str, name: str) -> str:
    if own := own_component(kind, name):
        return f"your own, version {own.version}, digest {own.digest}"
    if kind == "metric":
        return "" if METRICS[name].optional else "every cell"
    return "default" if kind in FIELDS and FIELDS[kind].default == name else ""


def _is_built_in(kind: str, name: str) -> bool:
    return own_component(kind, name) is None and not is_recorded(kind, name)
