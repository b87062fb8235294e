"""Records: JSON files with a checksum of their content in them."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable
from itertools import chain
from pathlib import Path
from typing import Any, TypeVar

from lop_sweep.config import digest
from lop_sweep.errors import MissingFileError, StoreError
from lop_sweep.prefetch import prefetch
from lop_sweep.storage.filesystem import READERS, filesystem_of, names_in, reading, write_bytes

Record = TypeVar("Record")

_log = logging.getLogger(__name__)

_CHECKSUM = "checksum"
_MAX_SECONDS = 253402300800.0
"""The end of the year 9999, in seconds since 1970: calendar functions fail beyond."""


def write_json(path: Path, content: dict[str, Any], indent: int | None = None) -> None:
    """Write a record atomically.

    Args:
        path: the file.
        content: JSON values.
        indent: spaces per level; None for one line.

    Raises:
        OSError: it cannot be written.
    """
    write_bytes(path, _encoded(content, indent))


def create_json(path: Path, content: dict[str, Any], indent: int | None = None) -> bool:
    """Write a record unless there is a file already; return whether this call made it. Errors as `write_json`."""
    return filesystem_of(path).create(path, _encoded(content, indent))


def read_json(path: Path) -> dict[str, Any]:
    """Read a record that `write_json` wrote.

    Raises:
        MissingFileError: there is no such file.
        StoreError: the file cannot be read, or its content is not what was written.
    """
    return checked_json(path, load_json(path))


def load_json(path: Path) -> Any:
    """Read a JSON file without checking its checksum; see `checked_json`.

    Raises:
        MissingFileError: there is no such file.
        StoreError: the file cannot be read, or is not JSON.
    """
    with reading(path):
        return json.loads(filesystem_of(path).read(path))


def checked_json(path: Path, content: Any) -> dict[str, Any]:
    """Return what `load_json` read, without its checksum.

    Raises:
        StoreError: it is not what `write_json` wrote.
    """
    with reading(path):
        if isinstance(content, dict):
            rest = {key: value for key, value in content.items() if key != _CHECKSUM}
            if content.get(_CHECKSUM) == digest(rest):
                return rest
    raise StoreError(f"{path}: is damaged: its checksum does not fit its content")


def read_records(folder: Path, build: Callable[[str, dict[str, Any]], Record]) -> list[Record]:
    """Read every record of a folder; damaged ones are reported in the log and left out.

    Args:
        folder: the folder.
        build: called with the name, without ".json", and the content of each file.

    Raises:
        StoreError: the folder cannot be read.
    """

    def read(name: str) -> list[Record]:
        path = folder / f"{name}.json"
        try:
            content = read_json(path)
            with reading(path):
                return [build(name, content)]
        except MissingFileError:  # removed since the folder was listed
            return []
        except StoreError as error:
            _log.warning("%s; not used", error)
            return []

    return list(chain.from_iterable(prefetch(read, names_in(folder, ".json"), READERS)))


def timestamp(value: Any) -> float:
    """Return a time from a file, in seconds since 1970, as a float.

    Raises:
        TypeError, ValueError, OverflowError: it is not a number, or not a time before the year 10000.
    """
    seconds = float(value)
    if not 0 <= seconds < _MAX_SECONDS:
        raise ValueError(f"{seconds:g} is not a time in seconds since 1970")
    return seconds


def _encoded(content: dict[str, Any], indent: int | None = None) -> bytes:
    return json.dumps({**content, _CHECKSUM: digest(content)}, indent=indent).encode() + b"\n"
