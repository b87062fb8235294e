"""Merge the files of finished packs into few large ones, at any time, even while a sweep runs.

A merged file is written beside those that it replaces, and names its packs. Only then are the others removed. A crash
in between leaves rows twice: `lop_sweep.storage.store` counts them once, and the next compaction or sweep removes the
smaller files. Other readers of the folder may see rows twice while files are removed, but never miss one.

Files that this lop-sweep could not write anew without loss are left alone: those with columns that it does not know.
"""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from lop_sweep.config import digest
from lop_sweep.errors import comma_list
from lop_sweep.prefetch import prefetch
from lop_sweep.storage.filesystem import READERS, fault_point, names_in
from lop_sweep.storage.lock import hold_lock
from lop_sweep.storage.maintenance.overlap import remove_overlaps
from lop_sweep.storage.parquet import FileInfo, file_info, read_table, read_tables, unknown_columns, verify_checksum
from lop_sweep.storage.schema import CELLS, tasks_schema
from lop_sweep.storage.store import MERGED, Segment, Store

ROWS = 500_000
"""Approximate number of task rows in a merged file. Files with more than half of it are not merged."""

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Compaction:
    """The outcome of a compaction.

    Attributes:
        before, after: numbers of pairs of files.
        packs: number of packs in them.
    """

    before: int
    after: int
    packs: int


def compact(store: Store, rows: int = ROWS) -> Compaction:
    """Merge small files into large ones.

    Args:
        store: the sweep directory.
        rows: approximate number of task rows in a merged file.

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
        remove_overlaps(store, lock, partial=False)  # only a sweep may remove cells that must be computed again
        for group in list(_groups(store, store.segments(), rows)):  # damage is found before anything is merged
            lock.check()
            _merge(store, group)
            fault_point("compact.merged")
            lock.check()
            store.collect_garbage()
        segments = store.segments()
    return Compaction(before, len(segments), sum(len(segment.packs) for segment in segments))


def _groups(store: Store, segments: Iterable[Segment], rows: int) -> Iterator[list[Segment]]:
    """Yield lists of at least two segments of one origin, each to be merged into one."""
    groups: dict[str | None, list[Segment]] = {}
    sizes: Counter[str | None] = Counter()
    seen: set[str] = set()

    def look(segment: Segment) -> tuple[Segment, set[str], str, FileInfo]:
        tasks, cells = (store.file(folder, segment.name) for folder in ("tasks", "cells"))
        ids = set(read_table(cells, CELLS, ["cell"])["cell"].to_pylist())
        return segment, ids, _reason_to_leave(tasks, cells), file_info(tasks)

    for segment, ids, unfit, info in prefetch(look, segments, READERS):
        reason = "some of its cells are in another file, too; see lop-sweep audit" if ids & seen else unfit
        seen |= ids
        if reason:
            _log.warning("%s is left alone: %s", segment.name, reason)
            continue
        origin = info.origin
        if info.rows > rows // 2:
            continue
        if sizes[origin] + info.rows > rows and len(groups[origin]) > 1:
            yield groups.pop(origin)
            sizes[origin] = 0
        groups.setdefault(origin, []).append(replace(segment, origin=origin))
        sizes[origin] += info.rows
    yield from (group for group in groups.values() if len(group) > 1)


def _reason_to_leave(tasks: Path, cells: Path) -> str:
    """Return why a pair of files must not be merged with others; empty if it may be."""
    if file_info(tasks).origin != file_info(cells).origin:
        return "its two files are of different origins; see lop-sweep audit"
    unknown = [*unknown_columns(tasks, tasks_schema()), *unknown_columns(cells, CELLS)]
    if unknown:
        return f"it has columns that this lop-sweep does not know: {comma_list(unknown)}; use the version that wrote it"
    return ""


def _merge(store: Store, group: list[Segment]) -> None:
    packs = tuple(sorted(pack for segment in group for pack in segment.packs))
    paths = {folder: [store.file(folder, segment.name) for segment in group] for folder in ("tasks", "cells")}
    list(prefetch(verify_checksum, [*paths["tasks"], *paths["cells"]], READERS))
    merged = Segment(MERGED + digest(packs), packs, group[0].origin)
    _log.info("merging %d packs into %s", len(packs), merged.name)
    store.commit_segment(merged, read_tables(paths["tasks"], tasks_schema()), read_tables(paths["cells"], CELLS))
