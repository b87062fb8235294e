"""Saved states as files: nested dictionaries and lists of NumPy arrays and JSON values, exactly, and without pickle.

The file is a NumPy `.npz` archive: the arrays under numbers, and the structure around them as JSON under `structure`.
Reading it executes nothing. Floats in the structure survive exactly (shortest exact decimals), and so do integers of
any size.
"""

from __future__ import annotations

import json
import zipfile
from pathlib import Path
from typing import Any

import numpy as np

from lop_sweep.errors import StateError, one_line

_ARRAY = "$array"
_STRUCTURE = "structure"


def save_state(path: Path, state: dict[str, Any]) -> None:
    """Write `state` to `path`. Dictionary keys must be strings."""
    arrays: dict[str, np.ndarray] = {}
    structure = json.dumps(_take_out(state, arrays)).encode()
    arrays[_STRUCTURE] = np.frombuffer(structure, dtype=np.uint8)
    with path.open("wb") as file:
        np.savez(file, allow_pickle=False, **arrays)


def load_state(path: Path) -> dict[str, Any]:
    """What `save_state` wrote to `path`.

    Raises:
        StateError: the file cannot be read or is not such a state.
    """
    try:
        with np.load(path, allow_pickle=False) as archive:
            state = _put_back(json.loads(archive[_STRUCTURE].tobytes()), archive)
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile) as error:
        raise StateError(f"{path}: is not a readable state: {one_line(error)}") from error
    if not isinstance(state, dict):
        raise StateError(f"{path}: is not a state: its structure is no dictionary")
    return state


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
