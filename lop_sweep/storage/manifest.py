"""`sweep.json`: what a sweep asked for, how and when, and where the results in its directory come from.

Its `origin`, 16 random digits, is made when it is first written, and kept. Result files carry the origin of the sweep
that computed them.
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
from lop_sweep.storage.filesystem import checked_json, load_json, write_json, writing
from lop_sweep.storage.schema import SCHEMA_VERSION
from lop_sweep.version import __version__

_KEYS = ("space", "dtype", "created", "common", "fields", "rows")
"""What the file holds at least."""
_ORIGIN = re.compile("[0-9a-f]{16}")


class SweepFile:
    """A sweep directory's `sweep.json`.

    Args:
        path: where it is.
    """

    def __init__(self, path: Path) -> None:
        self._path = path

    def check_schema(self) -> None:
        """Refuse a file that must not be written anew; other damage is left to whoever needs the content.

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
        """Write the file, with the origin that it has had, and all versions of lop-sweep that have written it.

        Args:
            description: the content, with all of `_KEYS`.
            adopt: called where no origin can be read; the one to take, or None for a new one.

        Raises:
            SchemaVersionError: another version of the schema wrote the file that is there.
            SpecialFileError: what is there is not a regular file.
            StoreError: it cannot be written.
        """
        self.check_schema()
        earlier = self._readable()
        content = {
            "schema_version": SCHEMA_VERSION,
            "lop_sweep_version": __version__,
            "lop_sweep_versions": sorted({*versions_in(earlier), __version__}),
            "origin": origin_in(earlier) or adopt() or secrets.token_hex(8),
        }
        with writing(self._path):
            write_json(self._path, {**content, **description}, indent=1)

    def origin(self) -> str | None:
        """Return the origin; None where the file is missing, damaged or without one: results are not lost over it.

        Raises:
            SchemaVersionError: another version of the schema wrote it.
        """
        return origin_in(self._readable())

    def _readable(self) -> dict[str, Any]:
        """The content; empty where it cannot be read."""
        try:
            return self.read() or {}
        except SchemaVersionError:
            raise
        except StoreError:
            return {}

    def _load(self) -> Any:
        """The content, its checksum not yet checked: another version may compute that differently."""
        content = load_json(self._path)
        found = content.get("schema_version", SCHEMA_VERSION) if isinstance(content, dict) else SCHEMA_VERSION
        if found != SCHEMA_VERSION:
            raise another_version(self._path, found, SCHEMA_VERSION, content.get("lop_sweep_version"))
        return content


def origin_in(description: Mapping[str, Any]) -> str | None:
    """Return the origin in the content of a `sweep.json`; None where it has none."""
    origin = description.get("origin")
    return origin if isinstance(origin, str) and _ORIGIN.fullmatch(origin) else None


def versions_in(description: Mapping[str, Any]) -> set[str]:
    """Return the versions of lop-sweep that wrote a `sweep.json`; earlier builds name the last one only."""
    driver, listed = description.get("driver"), description.get("lop_sweep_versions")
    found = [*(listed if isinstance(listed, list) else []), description.get("lop_sweep_version")]
    found.append(driver.get("lop_sweep_version") if isinstance(driver, dict) else None)
    return {version for version in found if isinstance(version, str)}


class Request(Protocol):
    """What a sweep asks for: a `lop_sweep.SearchSpace`, as far as it is written down."""

    @property
    def name(self) -> str:
        """For people."""

    @property
    def cells(self) -> tuple[CellConfig, ...]:
        """The cells."""

    @property
    def pack(self) -> tuple[str, ...] | None:
        """The fields whose values one trial runs together."""

    @property
    def axes(self) -> dict[str, list[Any]]:
        """The fields that vary, each with its sorted values."""


def describe_space(space: Request) -> dict[str, Any]:
    """A search space as JSON values, compactly: what all cells share once, the rest as a table."""
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
    """The cells that `describe_space` described.

    Raises:
        StoreError: the description is damaged.
    """
    try:
        rows = [dict(zip(description["fields"], row, strict=True)) for row in description["rows"]]
        return expand({**description["common"], "cells": rows})
    except (KeyError, TypeError, ValueError, ConfigError) as error:
        raise StoreError(
            f"sweep.json is damaged: {single_line(error)}; run the sweep again, which writes it anew and loses nothing"
        ) from error
