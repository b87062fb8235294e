"""Cells that are in two files: how that is found, and which file goes.

One driver at a time works on a sweep directory, and packs that a worker of an earlier driver may still hold are not cut
anew. What is left is a worker that was frozen just before it wrote a pack whose cells have been computed in other packs
meanwhile. It withdraws what it wrote (`withdraw`); if it is killed before it can, the next command does
(`remove_overlaps`).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Mapping

from lop_sweep.files import set_aside
from lop_sweep.pack import Pack
from lop_sweep.parquet import read_table
from lop_sweep.schema import CELLS
from lop_sweep.store import Store


def redundant_files(cells: Mapping[str, Collection[str]], partial: bool = True) -> list[str]:
    """Choose files to remove so that no cell is in two.

    Files whose cells are all in others go first, and of these the one that doubles most, so that as few cells as
    possible have to be computed again: none, unless two files overlap in part. A heuristic; the optimum would be an
    exact cover.

    Args:
        cells: name of each file to the ids of its cells.
        partial: whether files may go that overlap with others in part only; if not, those cells stay doubled.
    """
    counts = Counter(cell for ids in cells.values() for cell in ids)
    left, chosen = dict(cells), []
    while max(counts.values(), default=0) > 1:
        doubled = {name: sum(counts[cell] > 1 for cell in ids) for name, ids in left.items()}
        candidates = [name for name in left if doubled[name]]
        name = min(candidates, key=lambda name: (len(left[name]) - doubled[name], -doubled[name], name))
        if doubled[name] < len(left[name]) and not partial:
            break
        chosen.append(name)
        counts.subtract(left.pop(name))
    return chosen


def remove_overlaps(store: Store, partial: bool = True) -> list[str]:
    """Quarantine pairs of files until each finished cell is in one pair only.

    To be called only by the holder of the lease in `maintenance`: a compaction at work doubles cells on purpose.

    Args:
        store: the sweep directory.
        partial: as in `redundant_files`.

    Returns:
        What was moved to `aside/`, as paths within the directory.

    Raises:
        StoreError: a file cannot be read or moved.
    """
    cells = {part.name: _cells_in(store, part.name) for part in store.parts()}
    return [path for name in redundant_files(cells, partial) for path in _quarantine(store, name)]


def withdraw(store: Store, pack: Pack) -> bool:
    """Take back a pack that was just written if all its cells are in other files; return whether it was taken back.

    Raises:
        StoreError: a file cannot be read or moved.
    """
    others = [part.name for part in store.parts() if part.name != pack.id]
    elsewhere = {cell for name in others for cell in _cells_in(store, name)}
    if not elsewhere >= {cell.id for cell in pack.cells}:
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
        if not path.exists():  # merged meanwhile
            continue
        set_aside(store.root, path)
        moved.append(str(path.relative_to(store.root)))
    return moved
