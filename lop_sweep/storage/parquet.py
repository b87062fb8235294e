"""Parquet files that know what they are: schema version, checksum over every byte, packs, origin, and who wrote them.

The checksum is the SHA-256 of the whole file with the checksum's own 64 digits taken as zeros. It stands in the file's
footer among the key-value metadata, where other readers ignore it.

A file of a few kilobytes can claim to hold gigabytes. One whose content would take more than `PLAUSIBLE_BYTES` in
memory, and more than `MAX_EXPANSION` times its own size, is refused by its metadata, before any of it is decoded. A
table that compresses so well is written without compression, so no file that `write_table` writes is refused.
"""

from __future__ import annotations

import base64
import hashlib
import json
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from lop_sweep.errors import SchemaVersionError, StoreError
from lop_sweep.storage.filesystem import open_regular, read_regular, reading, write_bytes
from lop_sweep.storage.schema import SCHEMA_VERSION, VERSION_KEY, WRITER_KEY, check_version
from lop_sweep.version import __version__

PLAUSIBLE_BYTES = 2**30
"""A file may hold so much, however small it is."""
MAX_EXPANSION = 1000
"""Beyond `PLAUSIBLE_BYTES`, a file may hold so many times its own size. The rows of diverged cells alone reach this."""

_CHECKSUM, _PACKS, _ORIGIN = "lop_sweep_sha256", "lop_sweep_packs", b"lop_sweep_origin"
_ARROW_SCHEMA = b"ARROW:schema"
_BLANK = "0" * 64
_READERS = 8
"""Files read at once: decoding leaves Python's lock, and a network's files come with delays."""
_WIDTHS = {"BOOLEAN": 1, "INT32": 4, "FLOAT": 4, "INT64": 8, "DOUBLE": 8, "INT96": 12}
_SMALL_BYTES = 2**20
_OFFSET_BYTES = 4
"""What a text or a list takes in memory besides its content."""


@dataclass(frozen=True)
class FileInfo:
    """What a file says of itself.

    Attributes:
        packs: ids of the packs whose rows it holds; None where it does not say.
        origin: of the sweep that computed it, see `lop_sweep.storage.store`; None where it does not say.
        rows: how many rows it has.
    """

    packs: tuple[str, ...] | None
    origin: str | None
    rows: int


def with_origin(table: pa.Table, origin: str | None) -> pa.Table:
    """Return the table with an origin that `write_table` writes along, or as it is where there is none."""
    if origin is None:
        return table
    return table.replace_schema_metadata({**(table.schema.metadata or {}), _ORIGIN: origin.encode()})


def write_table(path: Path, table: pa.Table, packs: Sequence[str]) -> None:
    """Write a table atomically.

    Args:
        path: the file.
        table: its content, with a schema of `lop_sweep.storage.schema`; see also `with_origin`.
        packs: ids of the packs whose rows it holds.

    Raises:
        OSError: it cannot be written.
    """
    content = _encoded(table, packs, "zstd")
    if not _plausible(2 * table.nbytes, len(content)):  # twice, for what the pages' levels take
        content = _encoded(table, packs, "none")
    start, end = _checksum_at(content)
    content[start:end] = hashlib.sha256(content).hexdigest().encode()
    write_bytes(path, bytes(content))


def verify_checksum(path: Path) -> None:
    """See that a file is what `write_table` wrote, to the last bit.

    Raises:
        SpecialFileError: it is not a regular file.
        StoreError: it is not, or it cannot be read.
    """
    with reading(path):
        content = bytearray(read_regular(path))
        start, end = _checksum_at(content)
        checksum = bytes(content[start:end])
        content[start:end] = _BLANK.encode()
        if hashlib.sha256(content).hexdigest().encode() != checksum:
            raise ValueError("it is damaged: its checksum does not fit its content")


def file_info(path: Path) -> FileInfo:
    """Read what a file says of itself.

    Raises:
        MissingFileError: there is no such file.
        SchemaVersionError: another version of the schema wrote it.
        StoreError: it is damaged.
    """
    with _opened(path) as (file, _):
        metadata = file.metadata.metadata or {}
        packs = json.loads(metadata[_PACKS.encode()]) if _PACKS.encode() in metadata else None
        if packs is not None and not (isinstance(packs, list) and all(isinstance(pack, str) for pack in packs)):
            raise ValueError("it does not say which packs it holds")
        origin = metadata[_ORIGIN].decode() if _ORIGIN in metadata else None
        return FileInfo(None if packs is None else tuple(packs), origin, file.metadata.num_rows)


def packs_of(path: Path) -> tuple[str, ...]:
    """Ids of the packs whose rows a file holds; errors as `file_info`."""
    packs = file_info(path).packs
    if packs is None:
        raise StoreError(f"{path}: cannot be read: it does not say which packs it holds")
    return packs


def refuse_other_versions(paths: Iterable[Path]) -> None:
    """See that none of these files, which are to be replaced or removed, is of another version of the schema.

    Raises:
        SchemaVersionError: one is.
    """
    for path in paths:
        try:
            file_info(path)
        except SchemaVersionError:
            raise
        except StoreError:  # not there, or damaged
            continue


def read_table(path: Path, schema: pa.Schema, columns: Sequence[str] | None = None) -> pa.Table:
    """One file's rows.

    Args:
        path: the file.
        schema: the schema that it must have.
        columns: which columns; None for all.

    Raises:
        MissingFileError: there is no such file.
        SchemaVersionError: another version of the schema wrote it.
        SpecialFileError: it is not a regular file.
        StoreError: it is damaged, or would take implausibly much memory.
    """
    wanted = schema if columns is None else pa.schema([schema.field(name) for name in columns], schema.metadata)
    texts = [field.name for field in wanted if field.type == pa.string()]
    with _opened(path, texts) as (file, size):
        _check_types(file.schema_arrow, wanted)
        table = file.read(columns=wanted.names, use_threads=False)
        _check_size(sum(_text_bytes(table[name]) for name in texts), size)
        return table.cast(wanted)


def read_tables(paths: Iterable[Path], schema: pa.Schema, columns: Sequence[str] | None = None) -> pa.Table:
    """The rows of several files of one schema; an empty table where there are no files. Errors as `read_table`."""
    wanted = schema if columns is None else pa.schema([schema.field(name) for name in columns], schema.metadata)
    with ThreadPoolExecutor(_READERS) as pool:
        tables = pool.map(lambda path: read_table(path, schema, columns), paths)
        return pa.concat_tables([wanted.empty_table(), *tables])


@contextmanager
def _opened(path: Path, texts: Sequence[str] = ()) -> Iterator[tuple[pq.ParquetFile, int]]:
    """A file that this version can read and whose size is plausible, and its size in bytes.

    Columns in `texts` come as dictionaries: a text that is repeated a million times is in memory once.
    """
    with reading(path), open_regular(path) as raw:
        size = os.fstat(raw.fileno()).st_size
        with pq.ParquetFile(raw, page_checksum_verification=True, read_dictionary=list(texts)) as file:
            _check_version(file.metadata.metadata or {}, path)
            _check_size(_decoded_bytes(file.metadata), size)
            yield file, size


def _check_version(metadata: Mapping[bytes, bytes], path: Path) -> None:
    """Refuse other versions of the schema.

    A writer names its version twice. Where the two differ and the checksum does not fit either, the file is damaged.
    """
    found, own = metadata.get(VERSION_KEY), str(SCHEMA_VERSION).encode()
    if found not in (None, own) and _ARROW_SCHEMA in metadata:
        schema = pa.ipc.read_schema(pa.py_buffer(base64.b64decode(metadata[_ARROW_SCHEMA])))
        if (schema.metadata or {}).get(VERSION_KEY) == own:
            verify_checksum(path)
    check_version(metadata, path)


def _decoded_bytes(metadata: pq.FileMetaData) -> int:
    """What a file takes in memory, by its footer: the values of all columns, or their pages where those are larger."""
    total = 0
    for group in map(metadata.row_group, range(metadata.num_row_groups)):
        rows = group.num_rows
        for column in map(group.column, range(group.num_columns)):
            count, pages = max(column.num_values, rows), column.total_uncompressed_size
            if min(column.num_values, rows, pages) < 0:
                raise ValueError("its footer has negative sizes")
            width = _WIDTHS.get(column.physical_type, _OFFSET_BYTES)
            total += max(count * width, pages) + (rows * _OFFSET_BYTES if count > rows else 0)
    return total


def _text_bytes(column: pa.ChunkedArray) -> int:
    """What a column of texts, read as dictionaries, takes at most once each text is written out."""
    total = 0
    for chunk in column.chunks:
        bound = chunk.dictionary.nbytes * len(chunk)
        if bound < _SMALL_BYTES:  # as in the file of most packs; the rest would take longer than reading
            total += bound
            continue
        lengths = pc.binary_length(chunk.dictionary)
        total += pc.sum(pc.cast(lengths.take(chunk.indices), pa.int64())).as_py() or 0
    return total


def _check_types(found: pa.Schema, wanted: pa.Schema) -> None:
    """Refuse other kinds of columns than the wanted ones: only of these is it known what they take in memory."""
    for field in wanted:
        index = found.get_field_index(field.name)
        if index < 0:
            raise ValueError(f"it does not have one column {field.name}")
        kind = found.field(index).type
        if field.type == pa.string():
            fits = pa.types.is_dictionary(kind) and kind.value_type == pa.string()
        elif pa.types.is_list(field.type):
            fits = pa.types.is_list(kind) and pa.types.is_primitive(kind.value_type)
        else:
            fits = pa.types.is_primitive(kind)
        if not fits:
            raise ValueError(f"its column {field.name} has the type {kind}, must have {field.type}")


def _check_size(decoded: int, size: int) -> None:
    if not _plausible(decoded, size):
        raise ValueError(f"its {size:,} bytes would take {decoded:,} bytes in memory, which no file of a sweep does")


def _plausible(decoded: int, size: int) -> bool:
    return decoded <= max(PLAUSIBLE_BYTES, MAX_EXPANSION * size)


def _encoded(table: pa.Table, packs: Sequence[str], compression: str) -> bytearray:
    """The bytes of a file, its checksum left blank."""
    about = {_PACKS: json.dumps(list(packs)), WRITER_KEY.decode(): __version__, _CHECKSUM: _BLANK}
    buffer = pa.BufferOutputStream()
    with pq.ParquetWriter(
        buffer,
        table.schema,
        compression=compression,
        use_dictionary=compression != "none",
        write_page_checksum=True,
    ) as writer:
        writer.write_table(table)
        writer.add_key_value_metadata(about)
    return bytearray(buffer.getvalue().to_pybytes())


def _checksum_at(content: bytes | bytearray) -> tuple[int, int]:
    """Where the seal's digits are: after its key and Thrift's framing of a text of 64 bytes."""
    framed = _CHECKSUM.encode() + b"\x18\x40"
    key = content.rfind(framed)
    if key < 0:
        raise ValueError("it has no checksum")
    start = key + len(framed)
    return start, start + len(_BLANK)
