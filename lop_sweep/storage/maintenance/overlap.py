"""Find cells that are in two files, and remove one of the files.

One driver at a time works on a sweep directory, and packs that a worker of an earlier driver may still hold are not cut
anew. One case remains: a worker is suspended just before it writes a pack whose cells are then computed in other packs.
It withdraws what it wrote (`withdraw`). If it is killed before it can, the next command does so (`remove_overlaps`).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Mapping

from lop_sweep.pack import Pack
from lop_sweep.prefetch import prefetch
from lop_sweep.storage.filesystem import READERS, filesystem_of, quarantine
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

    Files whose cells are all in others go first, and of these the foreign ones, then the largest. So few cells have to
    be computed again: none, unless two files overlap in part. A heuristic; the optimum would be an exact cover.

    Args:
        cells: name of each file to the ids of its cells.
        foreign: names of files that another sweep wrote.
        partial: whether files may be removed that only partly overlap with others. If not, those cells stay in two.
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
        lock: the caller's, in `maintenance`: a compaction at work puts cells into two files on purpose.
        partial: as in `redundant_files`.

    Returns:
        The files that were moved to `aside/`, as paths within the directory.

    Raises:
        SweepError: the lock is lost.
        StoreError: a file cannot be read or moved.
    """
    names = [segment.name for segment in store.segments()]
    cells = dict(zip(names, prefetch(lambda name: _cells_in(store, name), names, READERS), strict=True))
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
    """Quarantine a pack that was just written if any of its cells is in another file; return whether it was.

    Only for a worker whose driver has lost the directory. Cells that are in no other file are then not among those that
    the new driver was asked for, or it computes them itself.

    Raises:
        SweepError: a compaction or a repair did not end.
        StoreError: a file cannot be read or moved.
    """
    with hold_lock(store.maintenance, lambda: {"maintenance": "withdrawing a pack"}, patience=BUSY_SECONDS):
        others = [segment.name for segment in store.segments() if segment.name != pack.id]
        elsewhere = {cell for ids in prefetch(lambda name: _cells_in(store, name), others, READERS) for cell in ids}
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
        if filesystem_of(path).exists(path):
            quarantine(store.root, path)
            moved.append(str(path.relative_to(store.root)))
    return moved
