"""Merge the files of finished packs into few large ones, at any moment, while a sweep runs as well.

A merged file is written beside those that it replaces and says which packs it holds; only then are these removed. A
crash in between leaves rows that are there twice: `lop_sweep.storage.store` counts them once, and the next compaction
or sweep removes the smaller files. A reader that knows nothing of this may see rows twice for as long as the removal
takes, but never misses one.
"""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace

from lop_sweep.config import digest
from lop_sweep.storage.filesystem import fault_point, names_in
from lop_sweep.storage.lock import hold_lock
from lop_sweep.storage.maintenance.overlap import remove_overlaps
from lop_sweep.storage.parquet import file_info, read_table, read_tables, verify_checksum
from lop_sweep.storage.schema import CELLS, TASKS
from lop_sweep.storage.store import MERGED, Segment, Store

ROWS = 500_000
"""About how many rows of tasks a merged file holds; half of that is left as it is."""

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Compaction:
    """What a compaction did: how many pairs of files there were and are, and how many packs are in them."""

    before: int
    after: int
    packs: int


def compact(store: Store, rows: int = ROWS) -> Compaction:
    """Merge what can be merged.

    Args:
        store: the sweep directory.
        rows: about how many rows of tasks a merged file is to hold.

    Raises:
        SweepError: another compaction or repair is at work.
        SchemaVersionError: another version of the schema wrote one of the files; none is merged.
        StoreError: a file is damaged (it is not merged with sound ones), or cannot be read or written.
    """
    store.check()
    store.check_schema()
    with hold_lock(store.maintenance, lambda: {"maintenance": "compact"}) as lock:
        before = len(names_in(store.cells, ".parquet"))
        store.collect_garbage()
        remove_overlaps(store, lock, partial=False)  # what would have to be computed again is a sweep's business
        for group in list(_groups(store, store.segments(), rows)):  # all are looked at before one is merged
            lock.check()
            _merge(store, group)
            fault_point("compact.merged")
            lock.check()
            store.collect_garbage()
        parts = store.segments()
    return Compaction(before, len(parts), sum(len(part.packs) for part in parts))


def _groups(store: Store, parts: Iterable[Segment], rows: int) -> Iterator[list[Segment]]:
    """Parts to merge into one, two at least, and of one origin."""
    groups: dict[str | None, list[Segment]] = {}
    sizes: Counter[str | None] = Counter()
    seen: set[str] = set()
    for part in parts:
        cells = set(read_table(store.file("cells", part.name), CELLS, ["cell"])["cell"].to_pylist())
        if cells & seen:
            _log.warning("%s is left alone: some of its cells are in another file, too; see lop-sweep audit", part.name)
            continue
        seen |= cells
        tasks, beside = (file_info(store.file(folder, part.name)) for folder in ("tasks", "cells"))
        origin = tasks.origin
        if origin != beside.origin:
            _log.warning("%s is left alone: its two files are of different origins; see lop-sweep audit", part.name)
            continue
        if tasks.rows > rows // 2:
            continue
        if sizes[origin] + tasks.rows > rows and len(groups[origin]) > 1:
            yield groups.pop(origin)
            sizes[origin] = 0
        groups.setdefault(origin, []).append(replace(part, origin=origin))
        sizes[origin] += tasks.rows
    yield from (group for group in groups.values() if len(group) > 1)


def _merge(store: Store, group: list[Segment]) -> None:
    packs = tuple(sorted(pack for part in group for pack in part.packs))
    paths = {folder: [store.file(folder, part.name) for part in group] for folder in ("tasks", "cells")}
    for path in [*paths["tasks"], *paths["cells"]]:
        verify_checksum(path)
    merged = Segment(MERGED + digest(packs), packs, group[0].origin)
    _log.info("merging %d packs into %s", len(packs), merged.name)
    store.commit_segment(merged, read_tables(paths["tasks"], TASKS), read_tables(paths["cells"], CELLS))
