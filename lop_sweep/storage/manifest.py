"""`sweep.json`: the cells that a sweep asked for, how and when, and the origin of the directory.

The origin, 16 random digits, is made when the file is first written, and kept. Result files carry the origin of the
sweep that computed them.
"""

from __future__ import annotations

import re
import secrets
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Protocol

from lop_sweep.config import CellConfig
from lop_sweep.errors import (
    ConfigError,
    MissingFileError,
    SchemaVersionError,
    SpecialFileError,
    StoreError,
    another_version,
    comma_list,
    single_line,
)
from lop_sweep.pack import expand, factor
from lop_sweep.storage.filesystem import writing
from lop_sweep.storage.records import checked_json, create_json, load_json, write_json
from lop_sweep.storage.schema import SCHEMA_VERSION, refuse_newer
from lop_sweep.version import __version__

_KEYS = ("space", "dtype", "created", "common", "fields", "rows")
"""Required keys."""
_WRITER = "lop_sweep_version"
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
        lacking = [key for key in _KEYS if key not in content]
        if lacking:
            raise StoreError(
                f"{self._path}: is damaged, it lacks {comma_list(lacking)}; run the sweep again to write it anew"
            )
        return content

    def write(self, description: Mapping[str, Any], adopt: Callable[[], str | None]) -> None:
        """Write the file. It keeps its origin and the list of all versions of lop-sweep that have written it.

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
            with writing(self._path):
                if create and not earlier and create_json(self._path, content, indent=1):
                    return
                if earlier or not create:
                    write_json(self._path, content, indent=1)
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
        """Read the content without checking its checksum, which another version may compute differently."""
        content = load_json(self._path)
        found = content.get("schema_version", SCHEMA_VERSION) if isinstance(content, dict) else SCHEMA_VERSION
        if found != SCHEMA_VERSION:
            raise another_version(self._path, found, SCHEMA_VERSION, content.get(_WRITER))
        return content


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

    @property
    def axes(self) -> dict[str, list[Any]]:
        """The fields that vary, each with its sorted values."""


def describe_space(space: Request) -> dict[str, Any]:
    """Return a search space as compact JSON values: the fields that all cells share, and a table of the others."""
    common, rows = factor(space.cells)
    return {
        "space": space.name,
        "pack": None if space.pack is None else list(space.pack),
        "axes": space.axes,
        "common": common,
        "fields": list(rows[0]),
        "rows": [list(row.values()) for row in rows],
    }


def requested_cells(description: dict[str, Any]) -> tuple[CellConfig, ...]:
    """Return the cells that `describe_space` described. Fields that are newer than the description have their defaults.

    Raises:
        SchemaVersionError: it has fields that this lop-sweep does not know, because another version wrote it.
        StoreError: the description is damaged.
    """
    try:
        refuse_newer("sweep.json", [*description["common"], *description["fields"]], description.get(_WRITER))
        rows = [dict(zip(description["fields"], row, strict=True)) for row in description["rows"]]
        return expand({**description["common"], "cells": rows})
    except (KeyError, TypeError, ValueError, ConfigError) as error:
        raise StoreError(
            f"sweep.json is damaged: {single_line(error)}; run the sweep again, which writes it anew and loses nothing"
        ) from error
