"""Check every promise of a sweep directory on its files, and set aside what breaks one."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import pyarrow as pa

from lop_sweep.errors import LopSweepError, MissingFileError, SchemaVersionError, StateError, StoreError, comma_list
from lop_sweep.storage.checkpoints import STATE
from lop_sweep.storage.filesystem import (
    abandoned,
    is_out_of_reach,
    names_in,
    quarantine,
    read_json,
    reading,
    special_kind,
)
from lop_sweep.storage.lock import hold_lock
from lop_sweep.storage.lock_file import is_held, read_lease
from lop_sweep.storage.maintenance.audit_origin import Asked, Held, foreign, from_elsewhere, unasked
from lop_sweep.storage.maintenance.audit_rows import problems
from lop_sweep.storage.manifest import requested_cells
from lop_sweep.storage.pack_state import PackState
from lop_sweep.storage.parquet import file_info, packs_of, read_table, verify_checksum
from lop_sweep.storage.schema import CELLS, TASKS
from lop_sweep.storage.store import MERGED, Store

_ATTEMPTS = 10
"""How often an audit begins anew when a compaction removes files while it looks."""


@dataclass(frozen=True)
class Finding:
    """A broken promise.

    Attributes:
        where: the file, or the directory, within the sweep directory.
        what: what is wrong with it.
        remove: the files that have to go so that the next sweep can mend it; never one that another version of
            lop-sweep wrote.
    """

    where: str
    what: str
    remove: tuple[Path, ...] = ()

    def __str__(self) -> str:
        return f"{self.where}: {self.what}"


@dataclass
class Report:
    """What an audit has found.

    Attributes:
        findings: the broken promises.
        notes: what is worth knowing but breaks none.
        files, cells, rows: how much was looked at.
    """

    findings: list[Finding] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    files: int = 0
    cells: int = 0
    rows: int = 0


def audit(store: Store) -> Report:
    """Look at every file of a sweep directory.

    Raises:
        SchemaVersionError: another version of the schema wrote `sweep.json`.
        StoreError: it is not a sweep directory, or a folder cannot be read.
    """
    store.check()
    for _ in range(_ATTEMPTS):
        before = _result_files(store)
        held = (is_held(read_lease(folder), folder) for folder in (store.driver, store.maintenance))
        report = _Audit(store, *held).run()
        if not before - _result_files(store):  # else files were merged under its eyes
            break
    return report


def _result_files(store: Store) -> set[str]:
    folders = (store.tasks, store.cells)
    return {f"{folder.name}/{name}" for folder in folders for name in names_in(folder, ".parquet")}


def repair(store: Store) -> tuple[Report, list[Path]]:
    """Set aside what is broken, so that the next sweep computes it again.

    Returns:
        What was found, and where the files are now.

    Raises:
        SweepError: a sweep, a compaction or another repair is at work.
        SchemaVersionError: another version of the schema wrote `sweep.json`.
        StoreError: it is not a sweep directory, or a file cannot be moved.
    """
    store.check()
    with hold_lock(store.driver, _repairing), hold_lock(store.maintenance, _repairing):
        report = _Audit(store, sweep_at_work=False, being_merged=False).run()
        files = dict.fromkeys(path for finding in report.findings for path in finding.remove)
        return report, [quarantine(store.root, path) for path in files if os.path.lexists(path)]


def _repairing() -> dict[str, str]:
    return {"maintenance": "audit --repair"}


class _Audit:
    """One pass over a sweep directory."""

    def __init__(self, store: Store, sweep_at_work: bool, being_merged: bool) -> None:
        self._store, self._sweep_at_work, self._being_merged = store, sweep_at_work, being_merged
        self._report = Report()
        self._workers = {sign.pack for sign in store.checkpoints.heartbeats() if sign.alive()}
        self._special: set[Path] = set()
        self._unreadable = False
        self._sound: dict[str, Held] = {}

    def run(self) -> Report:
        with reading(self._store.root):
            return self._run()

    def _run(self) -> Report:
        store, unfinished = self._store, self._store.checkpoints
        self._check_kinds()
        for name in sorted({*names_in(store.tasks, ".parquet"), *names_in(store.cells, ".parquet")}):
            self._check_part(name)
        asked = self._asked()
        self._check_foreign(asked)
        self._check_once(asked)
        self._check_request(asked)
        for folder in (unfinished.running, unfinished.states):
            for pack in names_in(folder, STATE):
                self._check_state(folder / f"{pack}{STATE}", pack)
        for folder in (unfinished.running, store.failures.folder, store.driver, store.maintenance):
            for name in names_in(folder, ".json"):
                self._check_json(folder / f"{name}.json")
        self._check_strays()
        return self._report

    def _find(self, path: Path, what: str, remove: Iterable[Path]) -> None:
        where = str(path.relative_to(self._store.root))
        what = what.removeprefix(f"{path}: ")
        self._report.findings.append(Finding(where, what, tuple(remove)))

    def _find_error(self, path: Path, error: LopSweepError, remove: Sequence[Path]) -> None:
        """What is wrong with a file that cannot be read; what may be sound is not removed."""
        may_be_sound = isinstance(error, SchemaVersionError) or is_out_of_reach(error)
        self._find(path, str(error), () if may_be_sound else remove)

    def _check_kinds(self) -> None:
        """Nothing but regular files in any folder."""
        store, unfinished = self._store, self._store.checkpoints
        folders = (
            store.tasks, store.cells, unfinished.running, unfinished.states, store.failures.folder, store.driver,
            store.maintenance,
        )  # fmt: skip
        for folder in folders:
            for path in sorted(folder.iterdir() if folder.is_dir() else ()):
                kind = special_kind(path)
                if kind:
                    self._special.add(path)
                    self._find(path, f"is {kind}; only regular files belong here", self._with_its_pair(path))

    def _with_its_pair(self, path: Path) -> list[Path]:
        """The file, and the other one of its pair, unless another version of the schema wrote that."""
        store = self._store
        if path.suffix != ".parquet" or path.parent not in (store.tasks, store.cells):
            return [path]
        pair = [there for there in self._pair(path.stem) if os.path.lexists(there)]
        return [there for there in pair if there not in self._of_other_versions(pair)]

    def _pair(self, name: str) -> tuple[Path, Path]:
        return self._store.file("tasks", name), self._store.file("cells", name)

    def _check_part(self, name: str) -> None:
        """A pair of files: whole, of this schema, and right in itself."""
        paths = tasks, cells = self._pair(name)
        there = [path for path in paths if os.path.lexists(path)]
        others = self._of_other_versions(there)
        for path, error in others.items():
            self._find_error(path, error, ())
            self._unreadable = True
        if others or self._special & set(there):
            return
        if len(there) < len(paths):
            if there and self._being_merged and name.startswith(MERGED):
                return
            if there and name not in self._workers:
                self._find(there[0], "belongs to no finished pack: the other of its two files is not there", there)
            return
        rows, frame = self._sound_table(tasks, TASKS, paths), self._sound_table(cells, CELLS, paths)
        if rows is None or frame is None:
            return
        try:
            packs, origins = packs_of(cells), {file_info(path).origin for path in paths} - {None}
        except MissingFileError:  # merged since the folder was listed
            return
        except StoreError as error:
            self._find_error(cells, error, paths)
            return
        found = list(problems(rows, frame, packs))
        if not name.startswith(MERGED) and packs != (name,):
            found.append("holds another pack than its name says")
        if len(origins) > 1:
            found.append("is of another origin than its cells file")
        for what in found:
            self._find(tasks, what, paths)
        report = self._report
        report.files, report.cells, report.rows = report.files + 2, report.cells + len(frame), report.rows + len(rows)
        if not found:
            about = frame.select(["cell", "dtype", "lop_sweep_version"]).to_pylist()
            self._sound[name] = Held.of(about, next(iter(origins), None))

    def _of_other_versions(self, paths: Iterable[Path]) -> dict[Path, SchemaVersionError]:
        """Those of these files that another version of the schema wrote, and the error for each."""
        found = {}
        for path in paths:
            try:
                file_info(path)
            except SchemaVersionError as error:
                found[path] = error
            except StoreError:  # found again when all of it is read
                continue
        return found

    def _sound_table(self, path: Path, schema: pa.Schema, remove: Sequence[Path]) -> pa.Table | None:
        """A file's rows; None if it is damaged, which is then a finding, or has been merged."""
        try:
            verify_checksum(path)
            return read_table(path, schema)
        except MissingFileError:  # merged since the folder was listed
            return None
        except StoreError as error:
            self._find_error(path, error, remove)
            return None

    def _check_foreign(self, asked: Asked) -> None:
        """No files of another sweep, and one dtype; what may be left from an earlier request is worth a note."""
        dtypes = {dtype for held in self._sound.values() for dtype in held.dtypes}
        if len(dtypes) > 1:
            self._find(self._store.root, f"holds cells of several dtypes: {comma_list(sorted(dtypes))}", ())
        earlier = elsewhere = 0
        for name, held in list(self._sound.items()):
            what = foreign(held, asked)
            if what:
                self._find(self._pair(name)[1], what, self._pair(name))
                del self._sound[name]
                continue
            earlier += unasked(held, asked)
            elsewhere += len(held.cells) if from_elsewhere(held, asked) else 0
        if earlier:
            self._report.notes.append(f"{earlier} cells were asked for by earlier requests, not by the last one")
        if elsewhere:
            self._report.notes.append(f"{elsewhere} cells that were asked for were computed by another sweep")

    def _check_once(self, asked: Asked) -> None:
        """No cell in two files."""
        seen: set[str] = set()

        def order(name: str) -> tuple[bool, int, str]:
            # Merged files and this sweep's own come first, so that it is the others that are found to repeat them.
            return from_elsewhere(self._sound[name], asked), -len(self._sound[name].cells), name

        for name in sorted(self._sound, key=order):
            again = seen & set(self._sound[name].cells)
            if again and self._being_merged:
                self._report.notes.append(f"tasks/{name}.parquet: is being merged into another")
            elif again:
                what = f"{len(again)} of its cells are in another file, too: rows are there twice"
                self._find(self._pair(name)[0], what, self._pair(name))
            seen |= set(self._sound[name].cells)

    def _asked(self) -> Asked:
        """What was asked for; damage is a finding."""
        path = self._store.root / "sweep.json"
        description = {}
        try:
            description = self._store.read_sweep() or {}
            return Asked.by(description, frozenset(cell.id for cell in requested_cells(description)))
        except StoreError as error:
            self._find_error(path, error, (path,))
            return Asked.by(description, None)

    def _check_request(self, asked: Asked) -> None:
        """Every cell that was asked for is there, unless a sweep is at work."""
        if asked.cells is None:
            return
        missing = asked.cells - {cell for held in self._sound.values() for cell in held.cells}
        what = f"{len(missing)} of {len(asked.cells)} cells are not there"
        if missing and self._sweep_at_work:
            self._report.notes.append(f"{what} yet; a sweep is at work")
        elif missing and self._unreadable:
            self._report.notes.append(f"{what}, or are in the files of another version of lop-sweep")
        elif missing:
            self._find(self._store.root, f"{what}; the same lop-sweep sweep command computes them", ())

    def _check_state(self, path: Path, pack: str) -> None:
        """A checkpoint or a kept state: whole, and of the pack that its name says."""
        if path in self._special:
            return
        try:
            self._report.files += 1
            if PackState.load(path).pack.id != pack:
                self._find(path, "holds another pack than its name says", (path,))
        except (StateError, SchemaVersionError) as error:
            if not isinstance(error.__cause__, FileNotFoundError):
                self._find_error(path, error, (path,))

    def _check_json(self, path: Path) -> None:
        """A record: whole."""
        if path in self._special:
            return
        try:
            self._report.files += 1
            read_json(path)
        except MissingFileError:
            return
        except StoreError as error:
            self._find_error(path, error, (path,))

    def _check_strays(self) -> None:
        """Nothing that dead writers have left, and nothing among the results that is none."""
        store = self._store
        folders = (store.tasks, store.cells, store.checkpoints.running, store.checkpoints.states, store.failures.folder)
        for path in [path for folder in (store.root, *folders) for path in abandoned(folder)]:
            self._find(path, "was left by a writer that is gone", (path,))
        for folder in (store.tasks, store.cells):
            for name in names_in(folder, ""):
                if not name.endswith(".parquet") and folder / name not in self._special:
                    self._find(
                        folder / name,
                        "does not belong here: readers of the folder would trip over it",
                        (folder / name,),
                    )
        aside = sum(not path.is_dir() for path in (store.root / "aside").rglob("*"))
        if aside:
            self._report.notes.append(f"aside/ holds {aside} files that were set aside; remove them when you like")
