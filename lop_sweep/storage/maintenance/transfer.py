"""Copy a sweep between directories and object stores, file by file, each compared with its source afterwards.

Copied are `sweep.json`, the files of finished packs, saved states and failure records. Locks, heartbeats, files that
were set aside and Ray Tune's own files belong to the place where they are.

A copy that was interrupted is continued by the same command. Files that are in the target already, with the same
content, are not written again. A sweep may be at work on the source: what it has finished when its folders are listed
is copied. The target is locked like a sweep's.
"""

from __future__ import annotations

import hashlib
import json
import logging
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from lop_sweep.errors import (
    InaccessibleFileError,
    InaccessibleStateError,
    MissingFileError,
    MissingStateError,
    StateError,
    StoreError,
    SweepError,
)
from lop_sweep.prefetch import prefetch
from lop_sweep.storage.checkpoints import STATE
from lop_sweep.storage.exclusion import hold_sweep
from lop_sweep.storage.filesystem import filesystem_of, names_in, reading, writing
from lop_sweep.storage.maintenance.housekeeping import clean
from lop_sweep.storage.manifest import requested_cells
from lop_sweep.storage.pack_state import start_points
from lop_sweep.storage.parquet import verify_content
from lop_sweep.storage.records import checked_json
from lop_sweep.storage.serialization import check_state
from lop_sweep.storage.store import Store

_log = logging.getLogger(__name__)

_AT_ONCE = 8
"""Files that are copied at the same time; the largest have some tens of megabytes."""


@dataclass(frozen=True)
class Copied:
    """What a copy did.

    Attributes:
        files: number of files of the sweep in the target.
        written: number of those that this call wrote.
        bytes: their size.
    """

    files: int
    written: int
    bytes: int


def copy_sweep(source: Store, target: Store) -> Copied:
    """Copy a sweep.

    What the target has beyond the source stays: cells, a larger request, checkpoints with more progress.

    Args:
        source: where it is.
        target: where to; empty, or an earlier copy of the same sweep.

    Raises:
        SweepError: another process is at work on the target, or takes it over.
        StoreError: `source` is not a sweep directory, or a file of it is damaged; `target` is the source or inside it,
            or holds another sweep, or cells of the source in other packs; or a file cannot be read or written.
    """
    source.check()
    if source.root == target.root:
        raise StoreError(f"{target.root}: is the source itself; give another directory or bucket")
    if target.root.is_relative_to(source.root):  # readers of its folders would find the copy's files as well
        raise StoreError(f"{target.root}: is inside the source; give another directory or bucket")
    _check_target(source, target)
    target.create()
    lost: list[str] = []
    with hold_sweep(target, lambda: {"copy of": str(source.root)}, on_loss=lost.append):
        _check_target(source, target)
        copying = _Copying(source, target, lost)
        sizes = [copying.copy(Path("sweep.json"))]
        segments = [segment.name for segment in source.segments()]
        for folder in ("tasks", "cells"):  # all tasks before the first cells file, which is a commit
            sizes += copying.copy_all(source.file(folder, name).relative_to(source.root) for name in segments)
        sizes += copying.copy_all(_states(source))
        clean(target, (target.read_sweep() or {})["dtype"])
    written = [size for size in sizes if size > 0]
    return Copied(sum(size >= 0 for size in sizes), len(written), sum(written))


def _check_target(source: Store, target: Store) -> None:
    """Refuse a target with another sweep in it, or with cells of this one in other packs."""
    target.check_schema()
    with reading(target.root):
        names = filesystem_of(target.root).list_names(target.root)
    if "sweep.json" not in names:
        if names_in(target.cells, ".parquet"):
            raise StoreError(f"{target.root}: holds results without a sweep.json; give an empty place")
        return
    ours, theirs = source.read_sweep() or {}, target.read_sweep() or {}
    if any(ours.get(key) != theirs.get(key) for key in ("origin", "created", "dtype")):
        raise StoreError(f"{target.root}: holds another sweep than {source.root}; give an empty place")
    packs, others = (_packs(store) for store in (source, target))
    moved = sum(others.get(cell, pack) != pack for cell, pack in packs.items())
    if moved:
        raise StoreError(
            f"{target.root}: has computed {moved:,} cells of {source.root} in other packs; give an empty place"
        )


def _packs(store: Store) -> dict[str, str]:
    """Return the pack of each finished cell."""
    table = store.read_cells(["cell", "pack"])
    return dict(zip(table["cell"].to_pylist(), table["pack"].to_pylist(), strict=True))


def _states(source: Store) -> Iterator[Path]:
    checkpoints, failures = source.checkpoints, source.failures.folder
    for folder, ending in ((checkpoints.states, STATE), (checkpoints.running, STATE), (failures, ".json")):
        yield from ((folder / f"{name}{ending}").relative_to(source.root) for name in names_in(folder, ending))


class _Copying:
    """Copies the files of a sweep one by one.

    Args:
        source: where they are.
        target: where to.
        lost: not empty once another process has taken over the target.
    """

    def __init__(self, source: Store, target: Store, lost: Sequence[str]) -> None:
        self._source, self._target, self._lost = source, target, lost
        self._files = filesystem_of(target.root)
        folders = [target.root, *target.folders]
        with reading(target.root):
            self._sizes = {folder: self._files.sizes(folder) for folder in folders}

    def copy_all(self, names: Iterable[Path]) -> Iterator[int]:
        """Copy several files at a time; yield what `copy` returns."""
        return prefetch(self.copy, names, _AT_ONCE)

    def copy(self, name: Path) -> int:
        """Copy a file; return its size, 0 if nothing had to be written, -1 if it is not copied: removed or damaged.

        A damaged state or failure record is left out, with a warning: nothing that was finished depends on it.
        """
        if self._lost:
            raise SweepError(self._lost[0])
        before, after = self._source.root / name, self._target.root / name
        try:
            content = _checked_content(before)
        except (MissingFileError, MissingStateError):
            if self._is_result(name):
                raise StoreError(f"{before}: was merged or removed meanwhile; run the same command again") from None
            return -1
        except (InaccessibleFileError, InaccessibleStateError):
            raise
        except (StoreError, StateError) as error:
            if self._is_result(name):
                raise StoreError(
                    f"{error}; lop-sweep audit {self._source.root} --repair sets damaged files aside"
                ) from error
            _log.warning("%s; not copied", error)
            return -1
        with writing(after):
            size = self._sizes.get(after.parent, {}).get(after.name)
            if size is not None and self._keeps(after, content):
                return 0
            self._files.make_folder(after.parent)
            self._files.write(after, content)
            if _digest(self._files.read(after)) != _digest(content):
                raise StoreError(f"{after}: does not read back as it was written; check the target's disk or store")
        return len(content)

    def _is_result(self, name: Path) -> bool:
        return name.parts[0] in ("tasks", "cells", "sweep.json")

    def _keeps(self, path: Path, content: bytes) -> bool:
        """Return whether the target's file stays: it is the same, or has more in it."""
        if _digest(self._files.read(path)) == _digest(content):
            return True
        if path.name == "sweep.json":
            cells, ours = (
                {cell.id for cell in requested_cells(store.read_sweep() or {})}
                for store in (self._target, self._source)
            )
            return cells > ours
        if path.suffix == STATE:
            try:
                there, here = (
                    max(point.progress for point in start_points(store.root / path.parent.name / path.name).values())
                    for store in (self._target, self._source)
                )
            except (StateError, ValueError):  # damaged: to be replaced
                return False
            return there >= here
        return False


def _checked_content(path: Path) -> bytes:
    """Read a file of a sweep and check its own checksum.

    Raises:
        MissingFileError, MissingStateError: there is no such file.
        InaccessibleFileError, InaccessibleStateError: it cannot be read now.
        StoreError, StateError: it is damaged.
    """
    with reading(path):
        content = filesystem_of(path).read(path)
        if path.suffix == ".parquet":
            verify_content(content)
        elif path.suffix == STATE:
            check_state(path, content)
        else:
            checked_json(path, json.loads(content))
    return content


def _digest(content: bytes) -> bytes:
    return hashlib.sha256(content).digest()
