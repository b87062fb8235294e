"""The task rows of a sweep file by file, so that a store need not fit into memory.

At most `_AHEAD` files are read before the first of them is used. A merged file holds about `compaction.ROWS`
rows, others those of one pack: what is in memory at a time is bounded by that, not by the store.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence

import pyarrow as pa
import pyarrow.compute as pc

from lop_sweep.errors import MissingFileError
from lop_sweep.prefetch import prefetch
from lop_sweep.storage.parquet import read_table
from lop_sweep.storage.schema import TASKS
from lop_sweep.storage.store import Segment, Store

_AHEAD = 4
_ATTEMPTS = 20


def iter_tasks(store: Store, columns: Sequence[str], packs: Collection[str]) -> Iterator[pa.Table]:
    """The rows of finished packs, one table a file, each cell once.

    Files may be merged while this goes on: those that have disappeared are then looked for in merged ones.

    Args:
        store: the sweep directory.
        columns: which columns; "cell" must be among them.
        packs: which packs; files that hold none of these are not opened, others are given whole.

    Raises:
        StoreError: a file is damaged or was written by another version of the schema.
    """
    wanted = set(packs)
    seen: set[str] = set()
    for attempt in range(_ATTEMPTS):
        parts = [part for part in store.segments() if wanted & set(part.packs)]
        try:
            for part, table in _read(store, parts, columns):
                cells = set(pc.unique(table["cell"]).to_pylist())
                again = pa.array(cells & seen, pa.string())
                yield table.filter(pc.invert(pc.is_in(table["cell"], value_set=again))) if len(again) else table
                seen |= cells
                wanted -= set(part.packs)
            return
        except MissingFileError:
            if attempt == _ATTEMPTS - 1:
                raise


def _read(store: Store, parts: Sequence[Segment], columns: Sequence[str]) -> Iterator[tuple[Segment, pa.Table]]:
    def read(part: Segment) -> pa.Table:
        return read_table(store.file("tasks", part.name), TASKS, columns)

    return zip(parts, prefetch(read, parts, _AHEAD), strict=True)
