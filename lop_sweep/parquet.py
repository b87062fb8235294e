"""Parquet files that know what they are: a schema version, a seal over every byte, and the packs that they hold.

The seal is the SHA-256 of the whole file with the seal's own 64 digits taken as zeros. It stands in the file's footer
among the key-value metadata, where other readers ignore it.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from lop_sweep.files import reading, write_bytes
from lop_sweep.schema import check_version

_SEAL, _PACKS = "lop_sweep_sha256", "lop_sweep_packs"
_BLANK = "0" * 64
_READERS = 8
"""Files read at once: decoding leaves Python's lock, and a network's files come with delays."""


def write_table(path: Path, table: pa.Table, packs: Sequence[str]) -> None:
    """Write a table atomically.

    Args:
        path: the file.
        table: its content, with a schema of `lop_sweep.schema`.
        packs: ids of the packs whose rows it holds.

    Raises:
        OSError: it cannot be written.
    """
    buffer = pa.BufferOutputStream()
    with pq.ParquetWriter(buffer, table.schema, compression="zstd", write_page_checksum=True) as writer:
        writer.write_table(table)
        writer.add_key_value_metadata({_PACKS: json.dumps(list(packs)), _SEAL: _BLANK})
    content = bytearray(buffer.getvalue().to_pybytes())
    start, end = _seal_at(content)
    content[start:end] = hashlib.sha256(content).hexdigest().encode()
    write_bytes(path, bytes(content))


def check_seal(path: Path) -> None:
    """See that a file is what `write_table` wrote, to the last bit.

    Raises:
        StoreError: it is not, or it cannot be read.
    """
    with reading(path):
        content = bytearray(path.read_bytes())
        start, end = _seal_at(content)
        seal = bytes(content[start:end])
        content[start:end] = _BLANK.encode()
        if hashlib.sha256(content).hexdigest().encode() != seal:
            raise ValueError("it is damaged: its checksum does not fit its content")


def packs_of(path: Path) -> tuple[str, ...]:
    """Ids of the packs whose rows a file holds.

    Raises:
        MissingFileError: there is no such file.
        StoreError: it is damaged.
    """
    with reading(path):
        metadata = pq.read_metadata(path).metadata or {}
        return tuple(json.loads(metadata[_PACKS.encode()]))


def read_table(path: Path, schema: pa.Schema, columns: Sequence[str] | None = None) -> pa.Table:
    """One file's rows.

    Args:
        path: the file.
        schema: the schema that it must have.
        columns: which columns; None for all.

    Raises:
        MissingFileError: there is no such file.
        StoreError: it is damaged, or of another schema version.
    """
    wanted = schema if columns is None else pa.schema([schema.field(name) for name in columns], schema.metadata)
    with reading(path), pq.ParquetFile(path, page_checksum_verification=True) as file:
        check_version(file.schema_arrow, path)
        return file.read(columns=wanted.names, use_threads=False).cast(wanted)


def read_tables(paths: Iterable[Path], schema: pa.Schema, columns: Sequence[str] | None = None) -> pa.Table:
    """The rows of several files of one schema; an empty table where there are no files. Errors as `read_table`."""
    wanted = schema if columns is None else pa.schema([schema.field(name) for name in columns], schema.metadata)
    with ThreadPoolExecutor(_READERS) as pool:
        tables = pool.map(lambda path: read_table(path, schema, columns), paths)
        return pa.concat_tables([wanted.empty_table(), *tables])


def _seal_at(content: bytes | bytearray) -> tuple[int, int]:
    """Where the seal's digits are: after its key and Thrift's framing of a text of 64 bytes."""
    framed = _SEAL.encode() + b"\x18\x40"
    key = content.rfind(framed)
    if key < 0:
        raise ValueError("it has no checksum")
    start = key + len(framed)
    return start, start + len(_BLANK)
