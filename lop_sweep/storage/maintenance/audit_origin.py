"""Decide whether result files belong to the sweep that `sweep.json` describes: pure functions on their metadata."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any

from lop_sweep.errors import comma_list
from lop_sweep.storage.manifest import origin_in, versions_in


@dataclass(frozen=True)
class Held:
    """The metadata of a segment.

    Attributes:
        cells: ids of its cells.
        dtypes: the precisions that they were computed in.
        versions: the versions of lop-sweep that computed them.
        origin: of the sweep that they were computed for; None if the files do not name one.
    """

    cells: tuple[str, ...]
    dtypes: frozenset[str]
    versions: frozenset[str]
    origin: str | None

    @classmethod
    def of(cls, rows: Collection[Mapping[str, Any]], origin: str | None) -> Held:
        """Return the metadata in the rows of a cells file."""
        versions = {version for row in rows for version in row["lop_sweep_version"].split(" + ")}
        dtypes = {row["dtype"] for row in rows}
        return cls(tuple(row["cell"] for row in rows), frozenset(dtypes), frozenset(versions), origin)


@dataclass(frozen=True)
class Asked:
    """What a sweep asked for, by its `sweep.json`.

    Attributes:
        cells: ids of the cells that were asked for last; None if they cannot be read.
        dtype, origin: None if the file does not name them.
        versions: the versions of lop-sweep that have worked on the directory; empty if the file does not name them.
    """

    cells: frozenset[str] | None
    dtype: str | None
    origin: str | None
    versions: frozenset[str]

    @classmethod
    def by(cls, description: Mapping[str, Any], cells: frozenset[str] | None) -> Asked:
        """Return the request in the content of `sweep.json`."""
        dtype = description.get("dtype")
        versions = frozenset(versions_in(description))
        return cls(cells, dtype if isinstance(dtype, str) else None, origin_in(description), versions)


def from_elsewhere(held: Held, asked: Asked) -> bool:
    """Return whether a segment carries another origin than the sweep."""
    return None not in (held.origin, asked.origin) and held.origin != asked.origin


def unasked(held: Held, asked: Asked) -> int:
    """Return the number of cells of a segment that were not asked for last."""
    return 0 if asked.cells is None else len(set(held.cells) - asked.cells)


def foreign(held: Held, asked: Asked) -> str:
    """Return why a segment is not of this sweep; empty if there is no reason.

    Cells that were not asked for last may be those of an earlier, larger request. They are not if they have another
    origin. If one of the two origins is unknown, they are not if no version of lop-sweep that computed them has ever
    worked on this directory.
    """
    if asked.dtype is not None and held.dtypes - {asked.dtype}:
        return f"holds cells in {comma_list(sorted(held.dtypes))}, the sweep is in {asked.dtype}"
    extra = unasked(held, asked)
    if not extra:
        return ""
    what = f"holds {extra} cells that nothing asked for, computed by"
    if from_elsewhere(held, asked):
        return f"{what} another sweep (origin {held.origin}, not {asked.origin})"
    if None in (held.origin, asked.origin) and asked.versions and not held.versions & asked.versions:
        return f"{what} lop-sweep {comma_list(sorted(held.versions))}, which never ran here"
    return ""
