"""Parquet files with a schema version, a checksum over every byte, their packs, their origin and their writer.

The checksum is the SHA-256 of the whole file with the checksum's own 64 digits taken as zeros. It stands in the file's
footer among the key-value metadata, where other readers ignore it.

A file of a few kilobytes can claim to hold gigabytes. A file is refused by its metadata, before any of it is decoded,
if its content would take more than `PLAUSIBLE_BYTES` in memory and more than `MAX_EXPANSION` times its own size. A
table that compresses better than that is written without compression, so no file that `write_table` writes is refused.

The schema is additive: see `lop_sweep.storage.schema` for what a column that a file lacks reads as. Columns that the
schema does not know are ignored by readers; `unknown_columns` names them for whoever would write the rows anew.
"""

from __future__ import annotations

import base64
import hashlib
import io
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from lop_sweep.errors import SchemaVersionError, StoreError
from lop_sweep.storage.filesystem import READERS, filesystem_of, reading, write_bytes
from lop_sweep.storage.schema import (
    CELLS,
    SCHEMA_VERSION,
    VERSION_KEY,
    WRITER_KEY,
    check_version,
    columns_for,
    filled_bytes,
    has_default,
    is_optional,
    missing_column,
)
from lop_sweep.version import __version__

PLAUSIBLE_BYTES = 2**30
"""What any file may take in memory, however small it is."""
MAX_EXPANSION = 1000
"""What a larger file may take in memory, in multiples of its size. The rows of diverged cells alone come close."""

_CHECKSUM, _PACKS, _ORIGIN = "lop_sweep_sha256", "lop_sweep_packs", b"lop_sweep_origin"
_ARROW_SCHEMA = b"ARROW:schema"
_BLANK = "0" * 64
_WIDTHS = {"BOOLEAN": 1, "INT32": 4, "FLOAT": 4, "INT64": 8, "DOUBLE": 8, "INT96": 12}
_SMALL_BYTES = 2**20
_OFFSET_BYTES = 4
"""Memory that each text or list takes besides its content."""


@dataclass(frozen=True)
class FileInfo:
    """The metadata of a file.

    Attributes:
        packs: ids of the packs whose rows it holds; None if it does not name them.
        origin: of the sweep that computed it, see `lop_sweep.storage.store`; None if it does not name one.
        rows: number of rows.
        columns: names of its columns.
    """

    packs: tuple[str, ...] | None
    origin: str | None
    rows: int
    columns: tuple[str, ...]


def with_origin(table: pa.Table, origin: str | None) -> pa.Table:
    """Return the table with an origin in its metadata, for `write_table`; unchanged where `origin` is None."""
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
    if not _plausible(2 * table.nbytes, len(content)):  # twice, because the pages' levels take memory too
        content = _encoded(table, packs, "none")
    start, end = _checksum_at(content)
    content[start:end] = hashlib.sha256(content).hexdigest().encode()
    write_bytes(path, bytes(content))


def verify_checksum(path: Path) -> None:
    """Check that a file is what `write_table` wrote, to the last bit.

    Raises:
        MissingFileError: there is no such file.
        SpecialFileError: it is not a regular file.
        StoreError: it is damaged, or it cannot be read.
    """
    with reading(path):
        verify_content(filesystem_of(path).read(path))


def verify_content(content: bytes) -> None:
    """Check that these are the bytes of a file that `write_table` wrote.

    Raises:
        ValueError: they are damaged.
    """
    start, end = _checksum_at(content)
    blank = hashlib.sha256(content[:start])
    blank.update(_BLANK.encode())
    blank.update(content[end:])
    if blank.hexdigest().encode() != content[start:end]:
        raise ValueError("it is damaged: its checksum does not fit its content")


def file_info(path: Path) -> FileInfo:
    """Read a file's metadata.

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
        columns = tuple(file.schema_arrow.names)
        return FileInfo(None if packs is None else tuple(packs), origin, file.metadata.num_rows, columns)


def packs_of(path: Path) -> tuple[str, ...]:
    """Read the ids of the packs whose rows a file holds; errors as `file_info`."""
    packs = file_info(path).packs
    if packs is None:
        raise StoreError(f"{path}: cannot be read: it does not say which packs it holds")
    return packs


def unknown_columns(path: Path, schema: pa.Schema) -> list[str]:
    """Read the names of a file's columns that `schema` does not have; errors as `file_info`.

    Such a file was written by a newer lop-sweep. Its rows must not be written anew: that would drop these columns.
    """
    return [name for name in file_info(path).columns if name not in schema.names]


def refuse_other_versions(paths: Iterable[Path]) -> None:
    """Check that none of these files, which are to be replaced or removed, has another version of the schema.

    Raises:
        SchemaVersionError: one is.
    """
    for path in paths:
        try:
            file_info(path)
        except SchemaVersionError:
            raise
        except StoreError:  # missing or damaged
            continue


def read_table(path: Path, schema: pa.Schema, columns: Sequence[str] | None = None) -> pa.Table:
    """Read a file's rows.

    Args:
        path: the file.
        schema: `tasks_schema()` or `CELLS`. Columns that the file lacks are filled, see `lop_sweep.storage.schema`.
        columns: which columns; None for all.

    Raises:
        MissingFileError: there is no such file.
        SchemaVersionError: another version of the schema wrote it.
        SpecialFileError: it is not a regular file.
        StoreError: it is damaged, or would take implausibly much memory.
    """
    wanted = _chosen(schema, columns)
    texts = [field.name for field in schema if field.type == pa.string()]
    with _opened(path, texts) as (file, size):
        missing = [name for name in wanted.names if has_default(name) and name not in file.schema_arrow.names]
        needed = dict.fromkeys([name for name in wanted.names if name not in missing] + columns_for(missing))
        stored = pa.schema([schema.field(name) for name in needed])
        _check_types(file.schema_arrow, stored)
        table = file.read(columns=stored.names, use_threads=False)
        _check_size(sum(_text_bytes(table[name]) for name in texts if name in needed), size)
        _check_size(filled_bytes(missing, table), size)
        for name in missing:
            table = table.append_column(schema.field(name), missing_column(name, table))
        return table.select(wanted.names).cast(wanted)


def read_tables(paths: Sequence[Path], schema: pa.Schema, columns: Sequence[str] | None = None) -> pa.Table:
    """Read the rows of several files; an empty table where there are no files. Errors as `read_table`.

    Without `columns`, optional columns of the tasks table that none of the files has are left out.
    """
    if columns is None and schema is not CELLS:
        with ThreadPoolExecutor(READERS) as pool:
            found = {name for info in pool.map(file_info, paths) for name in info.columns}
        columns = [name for name in schema.names if name in found or not is_optional(name)]
    with ThreadPoolExecutor(READERS) as pool:
        tables = pool.map(lambda path: read_table(path, schema, columns), paths)
        return pa.concat_tables([_chosen(schema, columns).empty_table(), *tables])


def _chosen(schema: pa.Schema, columns: Sequence[str] | None) -> pa.Schema:
    return schema if columns is None else pa.schema([schema.field(name) for name in columns], schema.metadata)


@contextmanager
def _opened(path: Path, texts: Sequence[str] = ()) -> Iterator[tuple[pq.ParquetFile, int]]:
    """Open a file that this version can read and whose size is plausible; also yields its size in bytes.

    Columns in `texts` are read as dictionaries: a text that is repeated a million times is in memory once.
    """
    with reading(path), filesystem_of(path).open_file(path) as raw:
        size = raw.seek(0, io.SEEK_END)
        footer = pq.read_metadata(raw)
        present = sorted(set(texts) & set(footer.schema.names))  # PyArrow refuses names of columns that are missing
        with pq.ParquetFile(raw, metadata=footer, page_checksum_verification=True, read_dictionary=present) as file:
            _check_version(file.metadata.metadata or {}, path)
            _check_size(_decoded_bytes(file.metadata), size)
            yield file, size


def _check_version(metadata: Mapping[bytes, bytes], path: Path) -> None:
    """Refuse other versions of the schema.

    A writer names its version twice. Where the two differ and the checksum does not fit, the file is damaged.
    """
    found, own = metadata.get(VERSION_KEY), str(SCHEMA_VERSION).encode()
    if found not in (None, own) and _ARROW_SCHEMA in metadata:
        schema = pa.ipc.read_schema(pa.py_buffer(base64.b64decode(metadata[_ARROW_SCHEMA])))
        if (schema.metadata or {}).get(VERSION_KEY) == own:
            verify_checksum(path)
    check_version(metadata, path)


def _decoded_bytes(metadata: pq.FileMetaData) -> int:
    """Return the bytes that a file takes in memory, by its footer: each column's values, or its pages if larger."""
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
    """Return an upper limit of the bytes that a column of texts, read as dictionaries, takes when written out."""
    total = 0
    for chunk in column.chunks:
        bound = chunk.dictionary.nbytes * len(chunk)
        if bound < _SMALL_BYTES:  # as in most files; the exact number would take longer than reading them
            total += bound
            continue
        lengths = pc.binary_length(chunk.dictionary)
        total += pc.sum(pc.cast(lengths.take(chunk.indices), pa.int64())).as_py() or 0
    return total


def _check_types(found: pa.Schema, wanted: pa.Schema) -> None:
    """Refuse columns of other kinds than the wanted ones: their size in memory is not known."""
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
    """Return the bytes of a file, with its checksum left blank."""
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
    """Return where the checksum's digits are: after its key and Thrift's framing of a text of 64 bytes."""
    framed = _CHECKSUM.encode() + b"\x18\x40"
    key = content.rfind(framed)
    if key < 0:
        raise ValueError("it has no checksum")
    start = key + len(framed)
    return start, start + len(_BLANK)
