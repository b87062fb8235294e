"""Read the task rows of a sweep file by file, so that a store need not fit into memory.

At most `MAX_PENDING` files are read ahead. A merged file holds about `compaction.ROWS` rows, other files hold those of
one pack. That bounds the memory in use, however large the store is.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence

import pyarrow as pa
import pyarrow.compute as pc

from lop_sweep.errors import MissingFileError
from lop_sweep.prefetch import prefetch
from lop_sweep.storage.parquet import read_table
from lop_sweep.storage.retry import read_consistently
from lop_sweep.storage.schema import tasks_schema
from lop_sweep.storage.store import Segment, Store

MAX_PENDING = 4


def iter_tasks(store: Store, columns: Sequence[str], packs: Collection[str]) -> Iterator[pa.Table]:
    """Yield the rows of finished packs, one table per file, each cell once.

    Files may be merged meanwhile. Packs whose files have disappeared are then read from the merged ones.

    Args:
        store: the sweep directory.
        columns: which columns; "cell" must be among them.
        packs: ids of the packs. Files that hold none of these are not opened; others are read whole.

    Raises:
        StoreError: a file is damaged or was written by another version of the schema.
    """
    remaining = _Remaining(store, columns, packs)
    while True:
        table = read_consistently(remaining.next)
        if table is None:
            return
        yield table


class _Remaining:
    """The rows of packs that have not been read yet."""

    def __init__(self, store: Store, columns: Sequence[str], packs: Collection[str]) -> None:
        self._store, self._columns = store, columns
        self._packs = set(packs)
        self._seen: set[str] = set()
        self._tables: Iterator[tuple[Segment, pa.Table]] | None = None

    def next(self) -> pa.Table | None:
        """Return the rows of the next file; None if all packs have been read.

        Raises:
            MissingFileError: the file has been merged or removed. The next call lists the files anew.
        """
        if self._tables is None:
            self._tables = self._open()
        try:
            segment, table = next(self._tables)
        except StopIteration:
            return None
        except MissingFileError:
            self._tables = None
            raise
        self._packs -= set(segment.packs)
        cells = set(pc.unique(table["cell"]).to_pylist())
        again = pa.array(cells & self._seen, pa.string())
        self._seen |= cells
        return table.filter(pc.invert(pc.is_in(table["cell"], value_set=again))) if len(again) else table

    def _open(self) -> Iterator[tuple[Segment, pa.Table]]:
        segments = [segment for segment in self._store.segments() if self._packs & set(segment.packs)]
        return zip(segments, prefetch(self._read, segments, MAX_PENDING), strict=True)

    def _read(self, segment: Segment) -> pa.Table:
        return read_table(self._store.file("tasks", segment.name), tasks_schema(), self._columns)
