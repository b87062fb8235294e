"""Saved states as files: nested dictionaries and lists of NumPy arrays and JSON values, exactly, and without pickle.

The file has three parts:

    a line `lop-sweep state 1 <SHA-256 of the rest>`
    a line of JSON, the header, which can be read without the rest
    a NumPy `.npz` archive: the arrays under numbers, the structure around them as JSON under `structure`

Reading it executes nothing. Floats in the structure survive exactly (shortest exact decimals), and so do integers of
any size. A file that is damaged by a single bit is refused. A file of another format is refused with an error of its
own, because it may be sound. A compressed archive is refused because it could expand to any size.
"""

from __future__ import annotations

import hashlib
import io
import json
import zipfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import numpy as np

from lop_sweep.errors import (
    InaccessibleStateError,
    MissingStateError,
    SchemaVersionError,
    SpecialFileError,
    StateError,
    another_version,
    single_line,
)
from lop_sweep.storage.filesystem import filesystem_of, write_bytes

FORMAT = 1
WRITER = "lop_sweep_version"
"""Key of the header for the version of lop-sweep that wrote the file."""

_MAGIC = b"lop-sweep state "
_FIRST_LINE_BYTES = 200
_ARRAY = "$array"
_STRUCTURE = "structure"


def save_state(path: Path, state: dict[str, Any], header: dict[str, Any] | None = None) -> None:
    """Write `state` to `path`, atomically. Dictionary keys must be strings.

    Args:
        path: the file.
        state: what to save.
        header: JSON values that `load_header` reads without the rest.

    Raises:
        OSError: it cannot be written.
    """
    arrays: dict[str, np.ndarray] = {}
    structure = json.dumps(_take_out(state, arrays)).encode()
    arrays[_STRUCTURE] = np.frombuffer(structure, dtype=np.uint8)
    buffer = io.BytesIO()
    buffer.write(json.dumps(header or {}).encode() + b"\n")
    np.savez(buffer, allow_pickle=False, **arrays)
    body = buffer.getvalue()
    write_bytes(path, b"%s%d %s\n%s" % (_MAGIC, FORMAT, hashlib.sha256(body).hexdigest().encode(), body))


def load_header(path: Path) -> dict[str, Any]:
    """Read the header of a saved state. Only `load_state` checks the checksum.

    Raises:
        MissingStateError: there is no such file.
        InaccessibleStateError: the file cannot be read now, or is not a regular file.
        StateError: the file does not begin as a saved state.
        SchemaVersionError: it is of another format.
    """
    with _reading_state(path), filesystem_of(path).open_file(path) as file:
        first, second = file.readline(_FIRST_LINE_BYTES), file.readline()
        _checksum_in(path, first, second)
        header = json.loads(second)
    if not isinstance(header, dict):
        raise StateError(f"{path}: is not a readable state: its header is not a dictionary")
    return header


def load_state(path: Path) -> dict[str, Any]:
    """Read what `save_state` wrote to `path`.

    Raises:
        MissingStateError: there is no such file.
        InaccessibleStateError: the file cannot be read now, or is not a regular file.
        StateError: the file is not a saved state, or is damaged.
        SchemaVersionError: it is of another format.
    """
    with _reading_state(path):
        arrays = _arrays_in(_checked_archive(path, filesystem_of(path).read(path)))
        state = _put_back(json.loads(arrays[_STRUCTURE].tobytes()), arrays)
    if not isinstance(state, dict):
        raise StateError(f"{path}: is not a readable state: its structure is not a dictionary")
    return state


def check_state(path: Path, content: bytes) -> None:
    """Check that the content of `path` is a whole saved state; errors as `load_state`."""
    with _reading_state(path):
        _checked_archive(path, content)


def _checked_archive(path: Path, content: bytes) -> bytes:
    first, _, body = content.partition(b"\n")
    header, _, archive = body.partition(b"\n")
    if _checksum_in(path, first, header) != hashlib.sha256(body).hexdigest().encode():
        raise ValueError("it is torn or damaged: its checksum does not fit its content")
    return archive


@contextmanager
def _reading_state(path: Path) -> Iterator[None]:
    try:
        yield
    except SchemaVersionError:
        raise
    except SpecialFileError as error:
        raise InaccessibleStateError(str(error)) from error
    except Exception as error:  # NumPy and zipfile raise many types for a damaged archive
        message = f"{path}: is not a readable state: {single_line(error)}"
        if isinstance(error, FileNotFoundError):
            raise MissingStateError(message) from error
        if isinstance(error, OSError) and error.errno is not None:
            raise InaccessibleStateError(message) from error
        raise StateError(message) from error


def _checksum_in(path: Path, line: bytes, header: bytes) -> bytes:
    """Return the checksum in a file's first line, after checking the format."""
    number, space, checksum = line.removeprefix(_MAGIC).partition(b" ")
    if not line.startswith(_MAGIC) or not space or not number.isdigit() or number.startswith(b"0"):
        raise ValueError("it does not begin as one")
    if number != b"%d" % FORMAT:
        writer = None
        with suppress(ValueError, TypeError, KeyError, RecursionError):  # the file does not name its writer
            writer = json.loads(header)[WRITER]
        raise another_version(path, int(number), FORMAT, writer, "state")
    return checksum.strip()


def _arrays_in(content: bytes) -> dict[str, np.ndarray]:
    """Return all arrays of an archive. They take no more memory than the file is long."""
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        members = archive.infolist()
    if any(member.compress_type != zipfile.ZIP_STORED for member in members):
        raise ValueError("its archive is compressed, which saved states are not")
    if sum(member.file_size for member in members) > len(content):
        raise ValueError("the parts of its archive are longer than the file")
    with np.load(io.BytesIO(content), allow_pickle=False) as arrays:
        return {name: arrays[name] for name in arrays.files}


def _take_out(node: Any, arrays: dict[str, np.ndarray]) -> Any:
    if isinstance(node, np.ndarray):
        key = str(len(arrays))
        arrays[key] = node
        return {_ARRAY: key}
    if isinstance(node, dict):
        return {key: _take_out(value, arrays) for key, value in node.items()}
    if isinstance(node, (list, tuple)):
        return [_take_out(value, arrays) for value in node]
    return node


def _put_back(node: Any, arrays: Mapping[str, np.ndarray]) -> Any:
    if isinstance(node, dict):
        if set(node) == {_ARRAY}:
            return arrays[node[_ARRAY]]
        return {key: _put_back(value, arrays) for key, value in node.items()}
    if isinstance(node, list):
        return [_put_back(value, arrays) for value in node]
    return node
