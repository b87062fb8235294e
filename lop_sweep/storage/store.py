"""The sweep directory: what a sweep asked for, which packs are finished, and where everything else is.

    DIR/sweep.json               what was asked for, how and when
    DIR/tasks/<pack>.parquet     rows of a finished pack, see `lop_sweep.storage.schema`
    DIR/cells/<pack>.parquet     its cells; written after its tasks, so it is the commit
    DIR/running/, DIR/states/    checkpoints, heartbeats and last states, see `lop_sweep.storage.checkpoints`
    DIR/failed/<pack>.json       packs that kept failing, see `lop_sweep.storage.failures`
    DIR/driver/, DIR/shards/, DIR/maintenance/  locks, see `lop_sweep.storage.lock` and `exclusion`
    DIR/aside/                   quarantine: files that were found damaged
    DIR/tune/                    Ray Tune's own state and logs; nothing here depends on it

`tasks/merged-*.parquet` and `cells/merged-*.parquet` hold many packs each, see `maintenance.compaction`. Every file is
written whole with one atomic operation, and carries a checksum. Nothing that is read here can execute code: the formats
are Parquet, JSON and NumPy's without pickle.

`sweep.json` holds the directory's `origin`, 16 random digits that it gets when it is first written and that it keeps.
Result files carry the origin of the sweep that computed them, which shows results of another sweep.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa

from lop_sweep.errors import MissingFileError, SpecialFileError, StoreError
from lop_sweep.storage.checkpoints import Checkpoints
from lop_sweep.storage.failures import FailureLog
from lop_sweep.storage.filesystem import (
    DIRECTORY,
    filesystem_of,
    names_in,
    reading,
    sweep_path,
    writable_folder,
    writing,
)
from lop_sweep.storage.manifest import SweepFile
from lop_sweep.storage.parquet import (
    file_info,
    packs_of,
    read_table,
    read_tables,
    refuse_other_versions,
    with_origin,
    write_table,
)
from lop_sweep.storage.retry import read_consistently
from lop_sweep.storage.schema import CELLS, PackResult, cells_table, tasks_schema, tasks_table

MERGED = "merged-"
"""Prefix of the names of files with many packs; the names of others are their packs' ids."""


@dataclass(frozen=True)
class Segment:
    """One pair of files, `tasks/<name>.parquet` and `cells/<name>.parquet`.

    Attributes:
        name: of the files.
        packs: ids of the packs that they hold.
        origin: the origin to write them with; None for none. It is not read back.
    """

    name: str
    packs: tuple[str, ...]
    origin: str | None = None


class Store:
    """A sweep directory. Making a `Store` touches nothing; `create` makes the folders.

    Args:
        root: the directory, or the URI of a bucket and a prefix in it.
        origin: the directory's origin, if it is known, so that `commit` need not read `sweep.json`.

    Attributes:
        root, tasks, cells: the directory and two of its folders.
        checkpoints: its saved states and heartbeats.
        failures: its failure records.

    Raises:
        StoreError: `root` is empty, or a URI of an unknown scheme.
    """

    def __init__(self, root: str | Path, origin: str | None = None) -> None:
        self.root = sweep_path(root)
        self._known_origin = origin
        self.tasks, self.cells = self.root / "tasks", self.root / "cells"
        self.checkpoints = Checkpoints(self.root)
        self.failures = FailureLog(self.root)
        self._files = filesystem_of(self.root)
        self._sweep = SweepFile(self.root / "sweep.json")

    @property
    def driver(self) -> Path:
        """The folder of the lock of `lop-sweep sweep`."""
        return self.root / "driver"

    @property
    def shards(self) -> Path:
        """The folder of the locks of `lop-sweep sweep --shard`, a folder per part."""
        return self.root / "shards"

    def lock_folder(self, part: str = "") -> Path:
        """Return the folder of the lock of a part of the sweep, such as "2-of-8", or of the whole sweep."""
        return self.shards / part if part else self.driver

    def lock_folders(self) -> list[Path]:
        """Return the folders of all drivers' locks, that of the whole sweep first.

        Raises:
            StoreError: a folder cannot be read.
        """
        with reading(self.shards):
            names = self._files.list_names(self.shards)
        return [self.driver, *sorted(self.shards / name for name in names if re.fullmatch("[0-9]+-of-[0-9]+", name))]

    @property
    def maintenance(self) -> Path:
        """The folder of the lock of `lop-sweep compact` and `lop-sweep audit --repair`."""
        return self.root / "maintenance"

    @property
    def beat_seconds(self) -> float:
        """Seconds between two heartbeats of a worker."""
        return self._files.beat_seconds

    @property
    def folders(self) -> tuple[Path, ...]:
        """All folders, the directory itself not included."""
        running, states = self.checkpoints.running, self.checkpoints.states
        return self.tasks, self.cells, running, states, self.failures.folder, self.driver, self.maintenance

    def create(self) -> None:
        """Make the folders and check that they can be written to.

        Raises:
            StoreError: they cannot, or another version of the schema wrote `sweep.json`.
        """
        self.check_schema()
        for folder in (self.root, self.tasks, self.cells, self.checkpoints.running, self.checkpoints.states):
            writable_folder(folder)

    def check(self) -> None:
        """Refuse a directory that is not a sweep directory.

        Raises:
            StoreError: there is no such directory, no sweep has been started in it, or another version of the schema
                wrote its `sweep.json`.
        """
        with reading(self.root):
            is_directory = self._files.kind(self.root) == DIRECTORY
            is_sweep = self._files.exists(self.root / "sweep.json")
        if not is_directory:
            raise StoreError(f"{self.root}: is not a directory; give the --out directory of a sweep")
        if not is_sweep:
            raise StoreError(f"{self.root}: holds no sweep.json; give the --out directory of a sweep")
        with suppress(SpecialFileError):  # an audit reports it
            self.check_schema()

    def check_schema(self) -> None:
        """Refuse a directory whose `sweep.json` must not be overwritten; errors as `SweepFile.check_schema`."""
        self._sweep.check_schema()

    def write_sweep(self, description: Mapping[str, Any]) -> None:
        """Write `sweep.json`. It keeps its origin; a new one adopts that of the results, if they agree on one.

        Raises:
            SchemaVersionError: another version of the schema wrote the present one.
            StoreError: it cannot be written.
        """
        self._sweep.write(description, self._origin_of_results)

    def read_sweep(self) -> dict[str, Any] | None:
        """Read `sweep.json`; None where there is none yet. Errors as `SweepFile.read`."""
        return self._sweep.read()

    def origin(self) -> str | None:
        """Return the directory's origin; None where `sweep.json` is missing, damaged or without one.

        Raises:
            SchemaVersionError: another version of the schema wrote it.
        """
        return self._sweep.origin()

    def _origin_of_results(self) -> str | None:
        """Return the origin on which all result files with an origin agree; None if they do not."""
        found = set()
        for name in names_in(self.cells, ".parquet"):
            with suppress(StoreError):  # damaged, or merged since the folder was listed
                found.add(file_info(self.file("cells", name)).origin)
        known = found - {None}
        return known.pop() if len(known) == 1 else None

    def commit(self, result: PackResult) -> None:
        """Write a finished pack's tasks, then its cells, then remove its checkpoint and heartbeat.

        Raises:
            StoreError: a file cannot be written.
        """
        segment = Segment(result.pack, (result.pack,), self._known_origin or self.origin())
        self.commit_segment(segment, tasks_table(result), cells_table(result))
        self.checkpoints.remove(result.pack)

    def commit_segment(self, segment: Segment, tasks: pa.Table, cells: pa.Table) -> None:
        """Write a pair of files, the tasks first.

        Raises:
            SchemaVersionError: a file of another version of the schema is in their place.
            StoreError: a file cannot be written.
        """
        where = self.file("tasks", segment.name)
        refuse_other_versions([where, self.file("cells", segment.name)])
        tasks, cells = (with_origin(table, segment.origin) for table in (tasks, cells))
        with writing(self.root):
            write_table(where, tasks, segment.packs)
            write_table(self.file("cells", segment.name), cells, segment.packs)
            if not self._files.exists(where):  # garbage-collected between the two writes
                write_table(where, tasks, segment.packs)

    def file(self, folder: str, name: str) -> Path:
        """Return the path of a segment's file in `folder`, "tasks" or "cells"."""
        return self.root / folder / f"{name}.parquet"

    def segments(self) -> list[Segment]:
        """Return the segments that hold every finished pack once, sorted by name.

        A pack counts if both its files exist. A segment with more packs replaces those with fewer of the same.

        Raises:
            StoreError: a folder cannot be read, or a merged file is damaged.
        """
        return read_consistently(self._segments)

    def committed(self) -> list[str]:
        """Return the ids of all finished packs, sorted; errors as `segments`."""
        return sorted(pack for segment in self.segments() for pack in segment.packs)

    def read_cells(self, columns: Sequence[str] | None = None) -> pa.Table:
        """Read the cells of all finished packs, in the schema `CELLS`.

        Raises:
            StoreError: a file is damaged or was written by another version of the schema.
        """
        return read_consistently(lambda: read_tables(self._paths("cells"), CELLS, columns))

    def read_pack(self, pack: str, columns: Sequence[str]) -> tuple[pa.Table, pa.Table]:
        """Read the cells of a finished pack, in the schema `CELLS`, and these columns of its rows of tasks.

        Raises:
            MissingFileError: the pack is not finished, or its files have been merged.
            StoreError: a file is damaged or was written by another version of the schema.
        """
        cells = read_table(self.file("cells", pack), CELLS)
        return cells, read_table(self.file("tasks", pack), tasks_schema(), columns)

    def read_tasks(self, columns: Sequence[str] | None = None) -> pa.Table:
        """Read the rows of all finished packs, in the schema `tasks_schema()`.

        Raises:
            StoreError: a file is damaged or was written by another version of the schema.
        """
        return read_consistently(lambda: read_tables(self._paths("tasks"), tasks_schema(), columns))

    def collect_garbage(self, done: Collection[str] = ()) -> list[str]:
        """Remove leftovers of crashed workers and compactions, and nothing that counts or is in use.

        Leftovers are temporaries of crashed writers, tasks files without a cells file, and files of packs that are in a
        merged one.

        The caller must hold the lock in `maintenance`: files of a compaction at work look like leftovers. This is safe
        while workers commit. A tasks file that is listed in step 1 has a worker that may be alive in step 2, or a cells
        file in step 3. Before a tasks file is removed, it is hidden and its cells file is checked again.

        Args:
            done: ids of finished cells. A tasks file without a cells file is then removed even if its worker may be
                alive, if some of its cells have been finished in another pack.

        Returns:
            The paths of removed files, within the directory.

        Raises:
            SchemaVersionError: another version of the schema wrote one of them; nothing is removed.
            StoreError: a folder cannot be read, or a file cannot be removed.
        """
        tasks = names_in(self.tasks, ".parquet")  # step 1
        alive = [heartbeat for heartbeat in self.checkpoints.heartbeats() if heartbeat.may_be_alive()]  # step 2
        segments = self.segments()  # step 3
        committed = {pack for segment in segments for pack in segment.packs}
        at_work = {beat.pack for beat in alive if beat.pack in committed or not set(done) & set(beat.cells)}
        finished = committed - at_work
        kept = {segment.name for segment in segments}
        # Cells before tasks: a reader that misses a tasks file then also misses its cells file, and lists both anew.
        useless = [
            self.file("cells", name)
            for name in names_in(self.cells, ".parquet")
            if name not in kept and finished >= set(self._packs_in(name))
        ]
        orphans = [self.file("tasks", name) for name in tasks if name not in kept | at_work]
        refuse_other_versions([*useless, *orphans])
        with reading(self.root):
            folders = dict.fromkeys([self.root, *self.folders, *self.lock_folders()])
            useless += [path for folder in folders for path in self._files.abandoned(folder)]
        with writing(self.root):
            for path in useless:
                self._files.delete(path)
            useless += [path for path in orphans if self._remove_orphan(path, committed)]
        return [str(path.relative_to(self.root)) for path in useless]

    def _remove_orphan(self, tasks: Path, committed: Collection[str]) -> bool:
        """Remove a tasks file that has no cells file of its own, or whose packs are all in `committed`."""
        if self._files.kind(tasks):
            return False
        hidden = self._files.temporary(tasks)
        try:
            self._files.move(tasks, hidden)
        except FileNotFoundError:
            return False
        if self._files.exists(self.file("cells", tasks.stem)) and not set(committed) >= set(self._packs_in(tasks.stem)):
            self._files.move(hidden, tasks)
            return False
        self._files.delete(hidden)
        return True

    def _segments(self) -> list[Segment]:
        before = set(names_in(self.cells, ".parquet"))
        names = before & set(names_in(self.tasks, ".parquet"))
        if before - set(names_in(self.cells, ".parquet")):
            raise MissingFileError(f"{self.cells}: cannot be read: its files keep being merged or removed")
        found = [Segment(name, self._packs_in(name)) for name in names]
        chosen: list[Segment] = []
        seen: set[str] = set()
        for segment in sorted(found, key=lambda one: (-len(one.packs), not one.name.startswith(MERGED), one.name)):
            if not seen >= set(segment.packs):
                chosen.append(segment)
                seen |= set(segment.packs)
        return sorted(chosen, key=lambda segment: segment.name)

    def _packs_in(self, name: str) -> tuple[str, ...]:
        return packs_of(self.file("cells", name)) if name.startswith(MERGED) else (name,)

    def _paths(self, folder: str) -> list[Path]:
        return [self.file(folder, segment.name) for segment in self._segments()]
