"""Saved states as files: nested dictionaries and lists of NumPy arrays and JSON values, exactly, and without pickle.

The file has three parts: a line `lop-sweep state 1 <SHA-256 of the rest>`; a line of JSON that says what it is, for
those who need not know more; and a NumPy `.npz` archive, the arrays under numbers, the structure around them as JSON
under `structure`. Reading it executes nothing. Floats in the structure survive exactly (shortest exact decimals), and
so do integers of any size. A file that is not whole, down to the last bit, is refused.
"""

from __future__ import annotations

import hashlib
import io
import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from lop_sweep.errors import StateError, one_line
from lop_sweep.files import write_bytes

_MAGIC = b"lop-sweep state 1 "
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
    write_bytes(path, b"%s%s\n%s" % (_MAGIC, hashlib.sha256(body).hexdigest().encode(), body))


def load_header(path: Path) -> dict[str, Any]:
    """The header of a saved state. Whether the file is whole, only `load_state` tells.

    Raises:
        StateError: the file cannot be read, or does not begin as a saved state.
    """
    with _readable(path), path.open("rb") as file:
        _checksum_in(file.readline())
        header = json.loads(file.readline())
    if not isinstance(header, dict):
        raise StateError(f"{path}: is not a readable state: its header is no dictionary")
    return header


def load_state(path: Path) -> dict[str, Any]:
    """What `save_state` wrote to `path`.

    Raises:
        StateError: the file cannot be read, is not such a state, or is not whole.
    """
    with _readable(path):
        first, _, body = path.read_bytes().partition(b"\n")
        if _checksum_in(first) != hashlib.sha256(body).hexdigest().encode():
            raise ValueError("it is torn or damaged: its checksum does not fit its content")
        with np.load(io.BytesIO(body.partition(b"\n")[2]), allow_pickle=False) as archive:
            state = _put_back(json.loads(archive[_STRUCTURE].tobytes()), archive)
    if not isinstance(state, dict):
        raise StateError(f"{path}: is not a readable state: its structure is no dictionary")
    return state


@contextmanager
def _readable(path: Path) -> Iterator[None]:
    try:
        yield
    except Exception as error:  # NumPy and zipfile raise all kinds over a damaged archive
        raise StateError(f"{path}: is not a readable state: {one_line(error)}") from error


def _checksum_in(line: bytes) -> bytes:
    if not line.startswith(_MAGIC):
        raise ValueError("it does not begin as one")
    return line.removeprefix(_MAGIC).strip()


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


def _put_back(node: Any, archive: Any) -> Any:
    if isinstance(node, dict):
        if set(node) == {_ARRAY}:
            return archive[node[_ARRAY]]
        return {key: _put_back(value, archive) for key, value in node.items()}
    if isinstance(node, list):
        return [_put_back(value, archive) for value in node]
    return node
