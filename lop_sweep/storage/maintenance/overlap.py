"""Cells that are in two files: how that is found, and which file is removed.

One driver at a time works on a sweep directory, and packs that a worker of an earlier driver may still hold are not cut
anew. What is left is a worker that was frozen just before it wrote a pack whose cells have been computed in other packs
meanwhile. It withdraws what it wrote (`withdraw`); if it is killed before it can, the next command does
(`remove_overlaps`).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Mapping

from lop_sweep.pack import Pack
from lop_sweep.storage.filesystem import quarantine
from lop_sweep.storage.lock import Lock, hold_lock
from lop_sweep.storage.parquet import file_info, read_table
from lop_sweep.storage.schema import CELLS
from lop_sweep.storage.store import Store

BUSY_SECONDS = 60.0
"""How long to wait for a compaction or a repair to end."""


def redundant_files(
    cells: Mapping[str, Collection[str]], foreign: Collection[str] = (), partial: bool = True
) -> list[str]:
    """Choose files to remove so that no cell is in two.

    Files whose cells are all in others go first, and of these the foreign ones, then the largest, so that as few cells
    as possible have to be computed again: none, unless two files overlap in part. A heuristic; the optimum would be an
    exact cover.

    Args:
        cells: name of each file to the ids of its cells.
        foreign: names of files that another sweep wrote.
        partial: whether files may go that overlap with others in part only; if not, those cells stay doubled.
    """
    counts = Counter(cell for ids in cells.values() for cell in ids)
    left, chosen = dict(cells), []

    def remove(name: str) -> None:
        chosen.append(name)
        counts.subtract(left.pop(name))

    for name in sorted(cells, key=lambda name: (name not in foreign, -len(cells[name]), name)):
        if cells[name] and all(counts[cell] > 1 for cell in cells[name]):
            remove(name)
    while partial:
        doubled = {name: sum(counts[cell] > 1 for cell in ids) for name, ids in left.items()}
        candidates = [name for name in left if doubled[name]]
        if not candidates:
            break
        remove(min(candidates, key=lambda name: (name not in foreign, len(left[name]) - doubled[name], name)))
    return chosen


def remove_overlaps(store: Store, lock: Lock, partial: bool = True) -> list[str]:
    """Quarantine pairs of files until each finished cell is in one pair only.

    Args:
        store: the sweep directory.
        lease: the caller's, in `maintenance`: a compaction at work doubles cells on purpose.
        partial: as in `redundant_files`.

    Returns:
        What was moved to `aside/`, as paths within the directory.

    Raises:
        SweepError: the lease is lost.
        StoreError: a file cannot be read or moved.
    """
    cells = {part.name: _cells_in(store, part.name) for part in store.segments()}
    counts = Counter(cell for ids in cells.values() for cell in ids)
    own = store.origin()
    involved = [name for name, ids in cells.items() if any(counts[cell] > 1 for cell in ids)]
    foreign = {name for name in involved if own and file_info(store.file("cells", name)).origin not in (None, own)}
    moved = []
    for name in redundant_files({name: cells[name] for name in involved}, foreign, partial):
        lock.check()
        moved += _quarantine(store, name)
    return moved


def withdraw(store: Store, pack: Pack) -> bool:
    """Take back a pack that was just written if any of its cells is in another file; return whether it was taken back.

    To be called only by a worker whose driver has lost the directory: the cells that are in no other file are not
    among those that the new driver was asked for, or it computes them itself.

    Raises:
        SweepError: a compaction or a repair did not end.
        StoreError: a file cannot be read or moved.
    """
    with hold_lock(store.maintenance, lambda: {"maintenance": "withdrawing a pack"}, patience=BUSY_SECONDS):
        others = [part.name for part in store.segments() if part.name != pack.id]
        elsewhere = {cell for name in others for cell in _cells_in(store, name)}
        if elsewhere.isdisjoint(cell.id for cell in pack.cells):
            return False
        _quarantine(store, pack.id)
        return True


def _cells_in(store: Store, name: str) -> list[str]:
    ids: list[str] = read_table(store.file("cells", name), CELLS, ["cell"])["cell"].to_pylist()
    return ids


def _quarantine(store: Store, name: str) -> list[str]:
    moved = []
    for folder in ("cells", "tasks"):  # the commit first: a reader that misses one file then misses both
        path = store.file(folder, name)
        if path.exists():
            quarantine(store.root, path)
            moved.append(str(path.relative_to(store.root)))
    return moved
