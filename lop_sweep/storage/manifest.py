"""`sweep.json`: the cells that a sweep asked for, how and when, and the origin of the directory.

`components` describes the components of a user's own that cells of the directory use. Nothing of it is executed.
The origin, 16 random digits, is made when the file is first written, and kept. Result files carry the origin of the
sweep that computed them.
"""

from __future__ import annotations

import re
import secrets
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any, Protocol

from lop_sweep.cell_table import Column, from_columns, from_rows, to_columns
from lop_sweep.components.recorded import declare, describe
from lop_sweep.config import CellConfig, check_keys
from lop_sweep.errors import (
    ConfigError,
    MissingFileError,
    SchemaVersionError,
    SpaceError,
    SpecialFileError,
    StoreError,
    another_version,
    comma_list,
    single_line,
)
from lop_sweep.storage.filesystem import writing
from lop_sweep.storage.records import checked_json, create_json, load_json, write_json
from lop_sweep.storage.schema import SCHEMA_VERSION, refuse_newer
from lop_sweep.version import __version__

COLUMNS_VERSION = 2
"""The schema version of a `sweep.json` with columns in place of rows. Builds that cannot read columns refuse it."""
MAX_ROWS = 10_000
"""Number of cells up to which `sweep.json` has one row per cell."""
_KEYS = ("space", "dtype", "created", "common")
_TABLES = {SCHEMA_VERSION: ("fields", "rows"), COLUMNS_VERSION: ("cells", "columns")}
"""Required keys: always, and by schema version."""
_WRITER, COMPONENTS = "lop_sweep_version", "components"
_ORIGIN = re.compile("[0-9a-f]{16}")


class SweepFile:
    """A sweep directory's `sweep.json`.

    Args:
        path: the file.
    """

    def __init__(self, path: Path) -> None:
        self._path = path

    def check_schema(self) -> None:
        """Refuse a file that must not be overwritten. Damage is not an error here.

        Raises:
            SchemaVersionError: another version of the schema wrote it.
            SpecialFileError: it is not a regular file.
        """
        try:
            self._load()
        except (SchemaVersionError, SpecialFileError):
            raise
        except StoreError:
            return

    def read(self) -> dict[str, Any] | None:
        """Read the content; None where there is no file yet.

        Raises:
            SchemaVersionError: another version of the schema wrote it.
            StoreError: it is damaged.
        """
        try:
            content = checked_json(self._path, self._load())
        except MissingFileError:
            return None
        table = _TABLES[content.get("schema_version", SCHEMA_VERSION)]
        lacking = [key for key in (*_KEYS, *table) if key not in content]
        if lacking:
            raise StoreError(
                f"{self._path}: is damaged, it lacks {comma_list(lacking)}; run the sweep again to write it anew"
            )
        return content

    def write(self, description: Mapping[str, Any], adopt: Callable[[], str | None]) -> None:
        """Write the file.

        It keeps its origin, the versions of lop-sweep that have written it, and the components of a user's own.

        Args:
            description: the content, with all of `_KEYS`.
            adopt: called if the file has no readable origin. It returns the origin to take, or None for a new one.

        Raises:
            SchemaVersionError: another version of the schema wrote the present file.
            SpecialFileError: the present file is not a regular one.
            StoreError: it cannot be written.
        """
        for create in (True, False):  # of two that write the first file, the second takes over the first one's origin
            self.check_schema()
            earlier = self._readable()
            content = {
                "schema_version": SCHEMA_VERSION,
                _WRITER: __version__,
                "lop_sweep_versions": sorted({*versions_in(earlier), __version__}),
                "origin": origin_in(earlier) or adopt() or secrets.token_hex(8),
                **description,
            }
            if components := _merged(earlier.get(COMPONENTS, []), description.get(COMPONENTS, [])):
                content[COMPONENTS] = components
            indent = None if "columns" in description else 1
            with writing(self._path):
                if create and not earlier and create_json(self._path, content, indent=indent):
                    return
                if earlier or not create:
                    write_json(self._path, content, indent=indent)
                    return

    def origin(self) -> str | None:
        """Return the origin; None where the file is missing, damaged or without one. Results do not depend on it.

        Raises:
            SchemaVersionError: another version of the schema wrote it.
        """
        return origin_in(self._readable())

    def _readable(self) -> dict[str, Any]:
        """Return the content; empty where it cannot be read."""
        try:
            return self.read() or {}
        except SchemaVersionError:
            raise
        except StoreError:
            return {}

    def _load(self) -> Any:
        """Read the content without checking its checksum, which another version may compute differently.

        The metrics of a user's own that it describes are known from then on.
        """
        content = load_json(self._path)
        found = content.get("schema_version", SCHEMA_VERSION) if isinstance(content, dict) else SCHEMA_VERSION
        if not isinstance(found, int) or found not in _TABLES:
            raise another_version(self._path, found, max(_TABLES), content.get(_WRITER))
        try:
            if isinstance(content, dict) and COMPONENTS in content:
                declare(checked_json(self._path, content)[COMPONENTS])
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise StoreError(f"{self._path}: its components cannot be read: {single_line(error)}") from error
        return content


def _merged(earlier: Any, now: Any) -> list[Any]:
    """Return descriptions of components, each version once."""
    keys = ("kind", "name", "version", "digest")
    return list({tuple(one.get(key) for key in keys): one for one in [*earlier, *now]}.values())


def origin_in(description: Mapping[str, Any]) -> str | None:
    """Return the origin in the content of a `sweep.json`; None where it has none."""
    origin = description.get("origin")
    return origin if isinstance(origin, str) and _ORIGIN.fullmatch(origin) else None


def versions_in(description: Mapping[str, Any]) -> set[str]:
    """Return the versions of lop-sweep that wrote a `sweep.json`; earlier builds list only the last one."""
    driver, listed = description.get("driver"), description.get("lop_sweep_versions")
    found = [*(listed if isinstance(listed, list) else []), description.get(_WRITER)]
    found.append(driver.get(_WRITER) if isinstance(driver, dict) else None)
    return {version for version in found if isinstance(version, str)}


class Request(Protocol):
    """The part of a `lop_sweep.SearchSpace` that `sweep.json` holds."""

    @property
    def name(self) -> str:
        """Its name, for messages."""

    @property
    def cells(self) -> tuple[CellConfig, ...]:
        """Its cells."""

    @property
    def pack(self) -> tuple[str, ...] | None:
        """The fields in which cells of one pack may differ; None if packs are made by cost."""


def describe_space(space: Request, max_rows: int = MAX_ROWS) -> dict[str, Any]:
    """Return a search space as compact JSON values: the fields that all cells share, and a table of the others.

    Args:
        space: the search space.
        max_rows: number of cells up to which the table has one row per cell. For more, it has one column per field.
    """
    common, columns = to_columns(space.cells)
    about: dict[str, Any] = {
        "space": space.name,
        "pack": None if space.pack is None else list(space.pack),
        "axes": {column.field: sorted(column.values) for column in columns if column.field != "own_components"},
        "common": common,
    }
    if own := describe(_representatives(space.cells)):
        about[COMPONENTS] = own
    count = len(space.cells)
    if count <= max_rows:
        values = [column.spread(column.values, count) for column in columns]
        rows = [list(row) for row in zip(*values, strict=True)] or [[]]
        return {**about, "fields": [column.field for column in columns], "rows": rows}
    return {
        "schema_version": COLUMNS_VERSION,
        **about,
        "cells": count,
        "columns": [column.to_json() for column in columns],
    }


def _representatives(cells: Iterable[CellConfig]) -> list[CellConfig]:
    """Return one cell for each choice of components of a user's own."""
    found = {cell.own_components: cell for cell in cells if cell.own_components}
    return [found[name] for name in sorted(found)]


def requested_cells(description: dict[str, Any]) -> tuple[CellConfig, ...]:
    """Return the cells that `describe_space` described. Fields that are newer than the description have their defaults.

    Raises:
        SchemaVersionError: it has fields that this lop-sweep does not know, because another version wrote it.
        StoreError: the description is damaged.
    """
    try:
        if not isinstance(description["common"], Mapping):
            raise TypeError(f"common must be an object, not {type(description['common']).__name__}")
        if "columns" in description:
            return _from_columns(description)
        refuse_newer("sweep.json", [*description["common"], *description["fields"]], description.get(_WRITER))
        check_keys([*description["common"], *description["fields"]])
        return from_rows(description["common"], description["fields"], description["rows"])
    except (KeyError, TypeError, ValueError, OverflowError, ConfigError, SpaceError) as error:
        raise StoreError(
            f"sweep.json is damaged: {single_line(error)}; run the sweep again, which writes it anew and loses nothing"
        ) from error


def _from_columns(description: Mapping[str, Any]) -> tuple[CellConfig, ...]:
    common, count = description["common"], description["cells"]
    columns = [Column.from_json(column, count) for column in description["columns"]]
    names = [*common, *(column.field for column in columns)]
    refuse_newer("sweep.json", names, description.get(_WRITER))
    check_keys(names)
    return from_columns(common, columns, count)
