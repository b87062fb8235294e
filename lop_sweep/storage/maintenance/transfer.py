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
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from lop_sweep.errors import MissingFileError, StateError, StoreError
from lop_sweep.prefetch import prefetch
from lop_sweep.storage.checkpoints import STATE
from lop_sweep.storage.exclusion import hold_sweep
from lop_sweep.storage.filesystem import filesystem_of, names_in, reading, writing
from lop_sweep.storage.maintenance.housekeeping import clean
from lop_sweep.storage.parquet import verify_content
from lop_sweep.storage.records import checked_json
from lop_sweep.storage.retry import read_consistently
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

    Args:
        source: where it is.
        target: where to; empty, or an earlier copy of the same sweep.

    Raises:
        SweepError: another process is at work on the target.
        StoreError: `source` is not a sweep directory, or a file of it is damaged; `target` holds another sweep, or is
            the source; or a file cannot be read or written.
    """
    source.check()
    if source.root == target.root:
        raise StoreError(f"{target.root}: is the source itself; give another directory or bucket")
    _check_target(source, target)
    target.create()
    with hold_sweep(target, lambda: {"copy of": str(source.root)}) as lock:
        _check_target(source, target)
        sizes = [_copy(source, target, Path("sweep.json"))]
        for names in (_results(source), _states(source)):
            lock.check()
            sizes += prefetch(lambda name: _copy(source, target, name), names, _AT_ONCE)
        lock.check()
        clean(target, (target.read_sweep() or {})["dtype"])
    written = [size for size in sizes if size > 0]
    return Copied(sum(size >= 0 for size in sizes), len(written), sum(written))


def _check_target(source: Store, target: Store) -> None:
    """Refuse a target with another sweep in it."""
    target.check_schema()
    with reading(target.root):
        names = filesystem_of(target.root).list_names(target.root)
    if "sweep.json" not in names:
        if names_in(target.cells, ".parquet"):
            raise StoreError(f"{target.root}: holds results without a sweep.json; give an empty place")
        return
    if source.origin() is None or source.origin() != target.origin():
        raise StoreError(f"{target.root}: holds another sweep than {source.root}; give an empty place")


def _results(source: Store) -> Iterator[Path]:
    """Yield the files of finished packs, those with tasks before those with cells, which are the commits."""
    names = [segment.name for segment in read_consistently(source.segments)]
    for folder in ("tasks", "cells"):
        yield from (source.file(folder, name).relative_to(source.root) for name in names)


def _states(source: Store) -> Iterator[Path]:
    checkpoints, failures = source.checkpoints, source.failures.folder
    for folder, ending in ((checkpoints.states, STATE), (checkpoints.running, STATE), (failures, ".json")):
        yield from ((folder / f"{name}{ending}").relative_to(source.root) for name in names_in(folder, ending))


def _copy(source: Store, target: Store, name: Path) -> int:
    """Copy a file; return its size, 0 if the target had it already, -1 if it is not copied: it was removed or damaged.

    A damaged state or failure record is left out, with a warning: nothing that was finished depends on it.
    """
    before, after = source.root / name, target.root / name
    files = filesystem_of(after)
    is_result = before.parent in (source.tasks, source.cells, source.root)
    try:
        with reading(before):
            content = filesystem_of(before).read(before)
            _check_content(before, content)
    except MissingFileError:
        if is_result:
            raise StoreError(f"{before}: was merged or removed meanwhile; run the same command again") from None
        return -1
    except (StoreError, StateError) as error:
        if is_result:
            raise StoreError(f"{error}; lop-sweep audit {source.root} --repair sets damaged files aside") from error
        _log.warning("%s; not copied", error)
        return -1
    with writing(after):
        if files.sizes(after.parent).get(after.name) == len(content) and _digest(files.read(after)) == _digest(content):
            return 0
        files.make_folder(after.parent)
        files.write(after, content)
        if _digest(files.read(after)) != _digest(content):
            raise StoreError(f"{after}: does not read back as it was written; check the target's disk or store")
    return len(content)


def _check_content(path: Path, content: bytes) -> None:
    """Check a file's own checksum.

    Raises:
        ValueError, StoreError: it does not fit.
    """
    if path.suffix == ".parquet":
        verify_content(content)
    elif path.suffix == STATE:
        check_state(path, content)
    else:
        checked_json(path, json.loads(content))


def _digest(content: bytes) -> bytes:
    return hashlib.sha256(content).digest()
