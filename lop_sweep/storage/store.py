"""The sweep directory: what a sweep asked for, what is finished, and where the rest is kept.

    DIR/sweep.json               what was asked for, how and when
    DIR/tasks/<pack>.parquet     rows of a finished pack, see `lop_sweep.storage.schema`
    DIR/cells/<pack>.parquet     its cells; written after its tasks, so it is the commit
    DIR/running/, DIR/states/    checkpoints, signs of life and last states, see `lop_sweep.storage.checkpoints`
    DIR/failed/<pack>.json       packs that kept failing, see `lop_sweep.storage.failures`
    DIR/driver/, DIR/maintenance/  leases, see `lop_sweep.storage.lock`
    DIR/aside/                   files that were found damaged
    DIR/tune/                    Ray Tune's own state and logs; nothing here depends on it

`tasks/merged-*.parquet` and `cells/merged-*.parquet` hold many packs each, see `maintenance.compaction`. Every file is
written whole under a temporary name and renamed, and carries a checksum. Nothing that is read here can execute code:
the formats are Parquet, JSON and NumPy's without pickle.

`sweep.json` holds the directory's `origin`, 16 random digits that it is given when it is first written and that it
keeps. Result files carry the origin of the sweep that computed them, so those of another sweep can be recognised.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import pyarrow as pa

from lop_sweep.errors import MissingFileError, SpecialFileError, StoreError
from lop_sweep.storage.checkpoints import Checkpoints
from lop_sweep.storage.failures import FailureLog
from lop_sweep.storage.filesystem import (
    abandoned,
    local_path,
    names_in,
    reading,
    temporary_beside,
    writable_folder,
    writing,
)
from lop_sweep.storage.manifest import SweepFile
from lop_sweep.storage.parquet import file_info, packs_of, read_tables, refuse_other_versions, with_origin, write_table
from lop_sweep.storage.schema import CELLS, TASKS, PackResult, cells_table, tasks_table

MERGED = "merged-"
"""How the names of files with many packs begin; those of single packs are the pack's id."""

_ATTEMPTS = 20
"""How often a reader looks again when files are merged under its eyes."""

Result = TypeVar("Result")


@dataclass(frozen=True)
class Segment:
    """One pair of files, `tasks/<name>.parquet` and `cells/<name>.parquet`.

    Attributes:
        name: what the files are called.
        packs: the packs that they hold.
        origin: the origin to write them with; None for none. It is not read back.
    """

    name: str
    packs: tuple[str, ...]
    origin: str | None = None


class Store:
    """A sweep directory. Making one touches nothing; `create` makes the folders.

    Args:
        root: the directory.

    Attributes:
        root, tasks, cells: the directory and two of its folders.
        unfinished: its checkpoints and signs of life.
        failures: its failure records.

    Raises:
        StoreError: `root` is empty or a URI.
    """

    def __init__(self, root: str | Path) -> None:
        self.root = local_path(root)
        self.tasks, self.cells = self.root / "tasks", self.root / "cells"
        self.checkpoints = Checkpoints(self.root)
        self.failures = FailureLog(self.root)
        self._sweep = SweepFile(self.root / "sweep.json")

    @property
    def driver(self) -> Path:
        """The folder of the leases of `lop-sweep sweep`."""
        return self.root / "driver"

    @property
    def maintenance(self) -> Path:
        """The folder of the leases of `lop-sweep compact` and `lop-sweep audit --repair`."""
        return self.root / "maintenance"

    def create(self) -> None:
        """Make the folders and see that they can be written to.

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
            is_directory, is_sweep = self.root.is_dir(), os.path.lexists(self.root / "sweep.json")
        if not is_directory:
            raise StoreError(f"{self.root}: is no directory; give the --out directory of a sweep")
        if not is_sweep:
            raise StoreError(f"{self.root}: holds no sweep.json; give the --out directory of a sweep")
        with suppress(SpecialFileError):  # an audit reports it
            self.check_schema()

    def check_schema(self) -> None:
        """Refuse a directory whose `sweep.json` must not be written anew; errors as `SweepFile.check_schema`."""
        self._sweep.check_schema()

    def write_sweep(self, description: Mapping[str, Any]) -> None:
        """Write `sweep.json`. It keeps its origin; a new one adopts that of the results, if they agree on one.

        Raises:
            SchemaVersionError: another version of the schema wrote the one that is there.
            StoreError: it cannot be written.
        """
        self._sweep.write(description, self._origin_of_results)

    def read_sweep(self) -> dict[str, Any] | None:
        """The content of `sweep.json`, or None where there is none yet; errors as `SweepFile.read`."""
        return self._sweep.read()

    def origin(self) -> str | None:
        """Return the directory's origin; None where `sweep.json` is missing, damaged or without one.

        Raises:
            SchemaVersionError: another version of the schema wrote it.
        """
        return self._sweep.origin()

    def _origin_of_results(self) -> str | None:
        """The origin on which all result files agree that have one; None where there is no such."""
        found = set()
        for name in names_in(self.cells, ".parquet"):
            with suppress(StoreError):  # damaged, or merged since the folder was listed
                found.add(file_info(self.file("cells", name)).origin)
        known = found - {None}
        return known.pop() if len(known) == 1 else None

    def commit(self, result: PackResult) -> None:
        """Write a finished pack's tasks, then its cells, then take back its checkpoint and sign of life.

        Raises:
            StoreError: a file cannot be written.
        """
        self.commit_segment(
            Segment(result.pack, (result.pack,), self.origin()), tasks_table(result), cells_table(result)
        )
        self.checkpoints.remove(result.pack)

    def commit_segment(self, part: Segment, tasks: pa.Table, cells: pa.Table) -> None:
        """Write a pair of files, the tasks first.

        Raises:
            SchemaVersionError: a file of another version of the schema is in their place.
            StoreError: a file cannot be written.
        """
        where = self.file("tasks", part.name)
        refuse_other_versions([where, self.file("cells", part.name)])
        tasks, cells = (with_origin(table, part.origin) for table in (tasks, cells))
        with writing(self.root):
            write_table(where, tasks, part.packs)
            write_table(self.file("cells", part.name), cells, part.packs)
            if not where.exists():  # somebody took this process for dead between the two, and tidied up
                write_table(where, tasks, part.packs)

    def file(self, folder: str, name: str) -> Path:
        """The path of a part's file in `folder`, "tasks" or "cells"."""
        return self.root / folder / f"{name}.parquet"

    def segments(self) -> list[Segment]:
        """The pairs of files that hold every finished pack once, sorted by name.

        A pack counts if both its files are there. A file with many packs stands for those with fewer of the same.

        Raises:
            StoreError: a folder cannot be read, or a merged file is damaged.
        """
        return self._steadily(self._segments)

    def committed(self) -> list[str]:
        """The ids of all finished packs, sorted.

        Raises:
            StoreError: as `parts`.
        """
        return sorted(pack for part in self.segments() for pack in part.packs)

    def read_cells(self, columns: Sequence[str] | None = None) -> pa.Table:
        """The cells of all finished packs, in the schema `CELLS`.

        Raises:
            StoreError: a file is damaged or was written by another version of the schema.
        """
        return self._steadily(lambda: read_tables(self._files("cells"), CELLS, columns))

    def read_tasks(self, columns: Sequence[str] | None = None) -> pa.Table:
        """The rows of all finished packs, in the schema `TASKS`.

        Raises:
            StoreError: a file is damaged or was written by another version of the schema.
        """
        return self._steadily(lambda: read_tables(self._files("tasks"), TASKS, columns))

    def collect_garbage(self, done: Collection[str] = ()) -> list[str]:
        """Remove what died workers and compactions have left: nothing that counts, and nothing that is under way.

        These are temporaries of dead writers, tasks files without a cells file, and single files of packs that are in a
        merged one.

        To be called only by who holds the lease in `maintenance`, because a compaction's files look like leftovers
        while it is at work. Beside workers that are just finishing it is safe by the order of its looks: a tasks file
        that is there at the first look has either a living worker at the second, or its cells file at the third; and by
        looking once more for the cells file when the tasks file is already out of sight.

        Args:
            done: ids of finished cells: a tasks file without a cells file then goes even if its worker may still be
                alive, if some of its cells have been finished in another pack.

        Returns:
            What was removed, as paths within the directory.

        Raises:
            SchemaVersionError: another version of the schema wrote one of them; nothing is removed.
            StoreError: a folder cannot be read, or a file cannot be removed.
        """
        tasks = names_in(self.tasks, ".parquet")
        signs = [sign for sign in self.checkpoints.heartbeats() if sign.may_be_alive()]
        parts = self.segments()
        committed = {pack for part in parts for pack in part.packs}
        at_work = {sign.pack for sign in signs if sign.pack in committed or not set(done) & set(sign.cells)}
        finished = committed - at_work
        kept = {part.name for part in parts}
        # Cells before tasks: a reader that misses a tasks file then also misses its cells file, and looks again.
        useless = [
            self.file("cells", name)
            for name in names_in(self.cells, ".parquet")
            if name not in kept and finished >= set(self._packs_in(name))
        ]
        orphans = [self.file("tasks", name) for name in tasks if name not in kept | at_work]
        refuse_other_versions([*useless, *orphans])
        unfinished = self.checkpoints
        folders = (
            self.root, self.tasks, self.cells, unfinished.running, unfinished.states, self.failures.folder,
            self.driver, self.maintenance,
        )  # fmt: skip
        useless += [path for folder in folders for path in abandoned(folder)]
        with writing(self.root):
            for path in useless:
                path.unlink(missing_ok=True)
            useless += [path for path in orphans if self._removed(path, parts)]
        return [str(path.relative_to(self.root)) for path in useless]

    def _removed(self, tasks: Path, parts: list[Segment]) -> bool:
        """Remove a tasks file that has no cells file of its own, or whose packs are in one of `parts`."""
        if not tasks.is_file():
            return False
        hidden = temporary_beside(tasks)
        try:
            tasks.replace(hidden)
        except FileNotFoundError:
            return False
        held = {pack for part in parts for pack in part.packs}
        if self.file("cells", tasks.stem).exists() and not held >= set(self._packs_in(tasks.stem)):
            hidden.replace(tasks)
            return False
        hidden.unlink()
        return True

    def _segments(self) -> list[Segment]:
        before = set(names_in(self.cells, ".parquet"))
        names = before & set(names_in(self.tasks, ".parquet"))
        if before - set(names_in(self.cells, ".parquet")):
            raise MissingFileError(f"{self.cells}: cannot be read: its files keep being merged or removed")
        found = [Segment(name, self._packs_in(name)) for name in names]
        chosen: list[Segment] = []
        seen: set[str] = set()
        for part in sorted(found, key=lambda part: (-len(part.packs), not part.name.startswith(MERGED), part.name)):
            if not seen >= set(part.packs):
                chosen.append(part)
                seen |= set(part.packs)
        return sorted(chosen, key=lambda part: part.name)

    def _packs_in(self, name: str) -> tuple[str, ...]:
        return packs_of(self.file("cells", name)) if name.startswith(MERGED) else (name,)

    def _files(self, folder: str) -> Iterable[Path]:
        return [self.file(folder, part.name) for part in self._segments()]

    @staticmethod
    def _steadily(look: Callable[[], Result]) -> Result:
        """What `look` returns, looking again if files were merged or removed while it did."""
        for attempt in range(_ATTEMPTS - 1):
            try:
                return look()
            except MissingFileError:
                time.sleep(0.05 * attempt)
        return look()
