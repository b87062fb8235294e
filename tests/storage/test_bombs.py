"""Small files that claim to hold gigabytes are refused before they are decoded. Files of ours never are."""

from __future__ import annotations

import hashlib
import io
import json
import shutil
import tracemalloc
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from sweeping import compute_here

from lop_sweep.config import CellConfig
from lop_sweep.errors import StateError, StoreError
from lop_sweep.metrics import LAYERED, measured_with
from lop_sweep.pack import Pack
from lop_sweep.storage import parquet
from lop_sweep.storage.maintenance.audit import audit, repair
from lop_sweep.storage.parquet import MAX_EXPANSION, PLAUSIBLE_BYTES, read_table, verify_checksum, write_table
from lop_sweep.storage.schema import CELLS, NUMERICS, TASKS, PackResult, cells_table, tasks_table
from lop_sweep.storage.serialization import load_state
from lop_sweep.storage.store import Store

BASE = CellConfig(width=6, depth=2, samples=8, steps=3, tasks=5, fresh_baseline=2)


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return compute_here([BASE.replace(seed=seed) for seed in (1, 2)], tmp_path / "out", pack=())


def constant(cells: int, tasks: int) -> PackResult:
    """Return the result that compresses best: that of cells which diverge in their first task."""
    configs = [BASE.replace(seed=seed, tasks=tasks, fresh_baseline=1) for seed in range(cells)]
    lost = np.zeros((tasks, cells, 2))
    return PackResult(
        pack=Pack(tuple(configs)).id,
        cells=configs,
        history={name: lost if name in LAYERED else lost[:, :, 0] for name in measured_with()},
        fresh_ce=np.zeros((cells, 1)),
        diverged_at=np.ones(cells, int),
        seconds=np.ones(cells),
        numerics=dict.fromkeys(NUMERICS, "x"),
    )


def repeated(schema: pa.Schema, rows: int, **texts: str) -> pa.Table:
    """Return a table of `rows` equal rows, whose texts are stored once."""
    columns = []
    for field in schema:
        if field.type == pa.string():
            text = pa.array([texts.get(field.name, "x")])
            columns.append(pa.DictionaryArray.from_arrays(pa.array(np.zeros(rows, np.int32)), text))
        elif pa.types.is_list(field.type):
            columns.append(pa.array([[0.5, 0.5]] * rows, field.type))
        else:
            columns.append(pa.array(np.ones(rows), pa.float64()).cast(field.type))
    return pa.table(columns, names=schema.names).replace_schema_metadata(schema.metadata)


def replace(store: Store, folder: str, table: pa.Table) -> Path:
    path = store.file(folder, store.committed()[0])
    path.unlink()
    pq.write_table(table, path, compression="zstd", write_page_checksum=True)
    return path


@pytest.mark.parametrize(
    ("plausible", "rows"), [(2**24, 50_000), pytest.param(PLAUSIBLE_BYTES, 1_000_000, marks=pytest.mark.long)]
)
def test_a_table_that_would_take_gigabytes_is_refused_unread(
    store: Store, monkeypatch: pytest.MonkeyPatch, plausible: int, rows: int
) -> None:
    path, segment = store.file("tasks", store.committed()[0]), repeated(TASKS, rows)
    with pq.ParquetWriter(path, segment.schema, compression="zstd") as writer:
        for _ in range(1 + plausible // segment.nbytes):
            writer.write_table(segment)
    size = path.stat().st_size
    monkeypatch.setattr(parquet, "PLAUSIBLE_BYTES", plausible)
    if plausible == PLAUSIBLE_BYTES:
        assert plausible // size >= MAX_EXPANSION
    else:
        monkeypatch.setattr(parquet, "MAX_EXPANSION", plausible // size)
    monkeypatch.setattr(pq.ParquetFile, "read", None)
    with pytest.raises(StoreError, match=rf"its {size:,} bytes would take [\d,]+ bytes in memory, which no file of a"):
        read_table(path, TASKS)


@pytest.mark.parametrize("folder", ["tasks", "cells"])
def test_a_text_that_is_repeated_to_gigabytes_is_refused(store: Store, folder: str) -> None:
    schema = TASKS if folder == "tasks" else CELLS
    path = replace(store, folder, repeated(schema, 3000, cell="x" * 2**20))
    assert path.stat().st_size < 2**17
    tracemalloc.start()
    before = pa.total_allocated_bytes()
    with pytest.raises(StoreError, match="would take 3,145,728,000 bytes in memory"):
        read_table(path, schema, ["cell"])
    assert pa.total_allocated_bytes() - before < 2**24
    assert tracemalloc.get_traced_memory()[1] < 2**26
    tracemalloc.stop()
    (found,) = [finding for finding in audit(store).findings if finding.remove]
    assert found.where == f"{folder}/{path.name}"
    assert len(repair(store)[1]) == 2


def test_a_text_where_numbers_should_be_is_refused(store: Store) -> None:
    """The size in memory is known only for the columns' own types."""
    table = repeated(CELLS, 10)
    for name, column in (
        ("fresh_ce", pa.array([["x" * 99]] * 10)), ("seconds", pa.array(["x"] * 10)), ("cell", pa.array(range(10))),
        ("lr", pa.array([[0.1]] * 10)),
    ):  # fmt: skip
        path = replace(store, "cells", table.set_column(CELLS.get_field_index(name), name, column))
        with pytest.raises(StoreError, match=f"its column {name} has the type"):
            read_table(path, CELLS)
    path = replace(store, "cells", table.drop_columns(["lr"]))
    with pytest.raises(StoreError, match="it does not have one column lr"):
        read_table(path, CELLS)


def test_whatever_is_written_can_be_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A table that compresses better than readers believe is written without compression."""
    result = constant(500, 200)
    table, path = tasks_table(result), tmp_path / "table.parquet"
    write_table(path, table, (result.pack,))
    small = path.stat().st_size
    assert table.nbytes > 500 * small
    monkeypatch.setattr(parquet, "PLAUSIBLE_BYTES", 2**20)
    monkeypatch.setattr(parquet, "MAX_EXPANSION", 100)
    with pytest.raises(StoreError, match="would take"):
        read_table(path, TASKS)
    for schema, content in ((TASKS, table), (CELLS, cells_table(result))):
        write_table(path, content, (result.pack,))
        verify_checksum(path)
        assert read_table(path, schema, content.column_names).equals(content)
    write_table(path, table, (result.pack,))
    assert path.stat().st_size > table.nbytes / 2


def test_what_a_sweep_writes_is_far_from_being_refused() -> None:
    """A million rows of cells that diverge at once take less than half of what any file may."""
    assert tasks_table(constant(1000, 100)).nbytes * 10 < PLAUSIBLE_BYTES / 2


def checksummed(archive: bytes) -> bytes:
    body = b"{}\n" + archive
    return b"lop-sweep state 1 %s\n%s" % (hashlib.sha256(body).hexdigest().encode(), body)


def archive(structure: object, compressed: bool, **arrays: np.ndarray) -> bytes:
    buffer = io.BytesIO()
    content = np.frombuffer(json.dumps(structure).encode(), dtype=np.uint8)
    (np.savez_compressed if compressed else np.savez)(buffer, structure=content, **arrays)
    return buffer.getvalue()


def test_a_compressed_state_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "x.state"
    path.write_bytes(checksummed(archive({"a": {"$array": "0"}}, True, **{"0": np.zeros(2**24)})))
    assert path.stat().st_size < 2**18
    with pytest.raises(StateError, match="its archive is compressed, which saved states are not"):
        load_state(path)


def test_an_array_that_is_named_often_is_in_memory_once(tmp_path: Path) -> None:
    path = tmp_path / "x.state"
    path.write_bytes(checksummed(archive({"a": [{"$array": "0"}] * 10_000}, False, **{"0": np.zeros(2**20)})))
    found = load_state(path)["a"]
    assert len(found) == 10_000
    assert all(array is found[0] for array in found)


def test_an_archive_whose_parts_overlap_is_refused(tmp_path: Path) -> None:
    """The directory at its end lists one member many times."""
    path, content = tmp_path / "x.state", archive({}, False, **{"0": np.zeros(2**16)})
    first, end = content.index(b"PK\x01\x02"), content.index(b"PK\x05\x06")
    listed, tail = content[first:end], bytearray(content[end:])
    tail[8:12] = (2 * 40).to_bytes(2, "little") * 2
    tail[12:16] = (len(listed) * 40).to_bytes(4, "little")
    path.write_bytes(checksummed(content[:first] + listed * 40 + bytes(tail)))
    with pytest.raises(StateError, match="the parts of its archive are longer than the file"):
        load_state(path)


def test_a_footer_with_negative_sizes_is_damage(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    path = store.file("cells", store.committed()[0])
    shutil.copy(path, path.with_suffix(".kept"))

    class Column:
        num_values, total_uncompressed_size, physical_type = -1, 8, "INT64"

    class Group:
        num_rows, num_columns = 2, 1
        column = staticmethod(lambda index: Column)

    class Footer:
        num_row_groups = 1
        row_group = staticmethod(lambda index: Group)
        metadata = pq.read_metadata(path).metadata

    footer = pq.read_metadata(path)
    monkeypatch.setattr(pq, "read_metadata", lambda source: footer)
    monkeypatch.setattr(pq.ParquetFile, "metadata", Footer)
    with pytest.raises(StoreError, match="its footer has negative sizes"):
        read_table(path, CELLS)
