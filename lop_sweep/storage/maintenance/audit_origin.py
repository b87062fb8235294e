"""Whether result files belong to the sweep that `sweep.json` describes: pure functions on what the files say."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any

from lop_sweep.errors import comma_list
from lop_sweep.storage.manifest import origin_in, versions_in


@dataclass(frozen=True)
class Held:
    """What a pair of files holds.

    Attributes:
        cells: ids of its cells.
        dtypes: the precisions that they were computed in.
        versions: the versions of lop-sweep that computed them.
        origin: of the sweep that they were computed for; None where the files do not say.
    """

    cells: tuple[str, ...]
    dtypes: frozenset[str]
    versions: frozenset[str]
    origin: str | None

    @classmethod
    def of(cls, rows: Collection[Mapping[str, Any]], origin: str | None) -> Held:
        """Make one from the rows of a cells file."""
        versions = {version for row in rows for version in row["lop_sweep_version"].split(" + ")}
        dtypes = {row["dtype"] for row in rows}
        return cls(tuple(row["cell"] for row in rows), frozenset(dtypes), frozenset(versions), origin)


@dataclass(frozen=True)
class Asked:
    """What `sweep.json` says of the sweep: the ids of its cells, its dtype, its origin, and who wrote it.

    Attributes:
        cells: ids of the cells that were asked for last; None where that cannot be read.
        dtype, origin: None where it does not say.
        versions: the versions of lop-sweep that have worked on the directory; empty where it does not say.
    """

    cells: frozenset[str] | None
    dtype: str | None
    origin: str | None
    versions: frozenset[str]

    @classmethod
    def by(cls, description: Mapping[str, Any], cells: frozenset[str] | None) -> Asked:
        """Make one from the content of `sweep.json`."""
        dtype = description.get("dtype")
        versions = frozenset(versions_in(description))
        return cls(cells, dtype if isinstance(dtype, str) else None, origin_in(description), versions)


def from_elsewhere(held: Held, asked: Asked) -> bool:
    """Whether files carry another origin than the sweep."""
    return None not in (held.origin, asked.origin) and held.origin != asked.origin


def unasked(held: Held, asked: Asked) -> int:
    """Return how many cells of a pair of files were not asked for last."""
    return 0 if asked.cells is None else len(set(held.cells) - asked.cells)


def foreign(held: Held, asked: Asked) -> str:
    """Return why a pair of files is not of this sweep; empty if nothing speaks against it.

    Cells that were not asked for last may be those of an earlier, larger request. They are not if their origin is
    another, or, where one of the two origins is not known, if no version of lop-sweep that computed them has ever
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
