"""Encoding of arrays for the page: block means along tasks, small number formats, and one compressed text.

A sequence of T tasks that may have at most B values is cut into blocks of `stride(T, B)` tasks each, of which the last
may be shorter. Each block becomes its mean. The page computes the same strides, so they are not stored.
"""

from __future__ import annotations

import base64
import gzip
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

_ALIGNMENT = 8
_FORMATS = {"float64": "f8", "float32": "f4", "uint32": "u4", "int32": "i4", "uint16": "u2", "uint8": "u1"}


@dataclass(frozen=True)
class BFloat16:
    """Numbers as bfloat16, the upper half of a float32: the same range, with a relative precision of 0.4%.

    Attributes:
        bits: uint16, of any shape.
    """

    bits: np.ndarray


Column = np.ndarray | BFloat16
"""What can be packed: an array of one of the types in `_FORMATS`, of any shape, or bfloat16 numbers."""


def stride(tasks: int, blocks: int) -> int:
    """Return how many tasks a block has, so that there are at most `blocks` blocks."""
    return -(-tasks // blocks)


def block_means(values: np.ndarray, blocks: int, of_known: bool = False) -> np.ndarray:
    """Return means over blocks of tasks.

    Args:
        values: (n, T, ...).
        blocks: the largest number of blocks.
        of_known: whether NaN is left out.

    Returns:
        (n, ceil(T / stride), ...); NaN for a block with a NaN in it, or of NaN only if they are left out.
    """
    tasks = values.shape[1]
    step = stride(tasks, blocks)
    if step == 1:
        return values
    starts = np.arange(0, tasks, step)
    if of_known:
        known = ~np.isnan(values)
        with np.errstate(invalid="ignore"):
            sums = np.add.reduceat(np.where(known, values, 0), starts, axis=1)
            return np.asarray(sums / np.add.reduceat(known.astype(int), starts, axis=1))
    sizes = np.diff(starts, append=tasks).reshape((1, -1) + (1,) * (values.ndim - 2))
    return np.add.reduceat(values, starts, axis=1) / sizes


def to_bfloat16(values: np.ndarray) -> BFloat16:
    """Round floats of any shape to bfloat16, halves to even; numbers too large for a float32 become infinite."""
    with np.errstate(over="ignore"):
        bits = np.ascontiguousarray(values, np.float32).view(np.uint32)
    rounded = (bits + np.uint32(0x7FFF) + ((bits >> np.uint32(16)) & np.uint32(1))) >> np.uint32(16)
    return BFloat16(np.where(np.isnan(values), 0x7FC0, rounded).astype(np.uint16))


def single(values: np.ndarray) -> np.ndarray:
    """Round floats of any shape to float32; numbers too large for it become infinite."""
    with np.errstate(over="ignore"):
        return values.astype(np.float32)


def pack_arrays(arrays: Mapping[str, Column]) -> tuple[list[dict[str, object]], str]:
    """Concatenate arrays, compress them, and encode the bytes as text.

    Args:
        arrays: by name; stored flat and little-endian, each at a multiple of 8 bytes.

    Returns:
        For each array its name, format (a key of NumPy's, or "bf16"), offset in bytes and number of values; and the
        text, base64 of gzip.
    """
    directory: list[dict[str, object]] = []
    contents: list[bytes] = []
    offset = 0
    for name, column in arrays.items():
        array = column.bits if isinstance(column, BFloat16) else column
        form = "bf16" if isinstance(column, BFloat16) else _FORMATS[array.dtype.name]
        content = array.astype(array.dtype.newbyteorder("<"), copy=False).tobytes()
        content += bytes(-len(content) % _ALIGNMENT)
        directory.append({"name": name, "format": form, "offset": offset, "length": int(array.size)})
        contents.append(content)
        offset += len(content)
    return directory, compress(b"".join(contents))


def compress(content: bytes) -> str:
    """Return base64 of gzip, the same text for the same content."""
    return base64.b64encode(gzip.compress(content, compresslevel=6, mtime=0)).decode("ascii")
