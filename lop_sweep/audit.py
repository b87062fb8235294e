"""Check every promise of a sweep directory on its files, and set aside what breaks one."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

from lop_sweep.audit_rows import problems
from lop_sweep.errors import MissingFileError, StateError, StoreError, named
from lop_sweep.files import abandoned, is_out_of_reach, names_in, read_json, reading, set_aside
from lop_sweep.lease import hold_lease
from lop_sweep.lease_file import is_held, read_lease
from lop_sweep.pack_state import PackState
from lop_sweep.parquet import check_seal, packs_of, read_table
from lop_sweep.plan import requested_cells
from lop_sweep.schema import CELLS, TASKS
from lop_sweep.store import MERGED, Store
from lop_sweep.unfinished import STATE

_ATTEMPTS = 10
"""How often an audit begins anew when a compaction removes files while it looks."""


@dataclass(frozen=True)
class Finding:
    """A broken promise.

    Attributes:
        where: the file, or the directory, within the sweep directory.
        what: what is wrong with it.
        remove: the files that have to go so that the next sweep can mend it.
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
        StoreError: it is not a sweep directory, or a file cannot be moved.
    """
    store.check()
    with hold_lease(store.driver, _repairing), hold_lease(store.maintenance, _repairing):
        report = _Audit(store, sweep_at_work=False, being_merged=False).run()
        files = dict.fromkeys(path for finding in report.findings for path in finding.remove)
        return report, [set_aside(store.root, path) for path in files if path.exists()]


def _repairing() -> dict[str, str]:
    return {"maintenance": "audit --repair"}


class _Audit:
    """One pass over a sweep directory."""

    def __init__(self, store: Store, sweep_at_work: bool, being_merged: bool) -> None:
        self._store, self._sweep_at_work, self._being_merged = store, sweep_at_work, being_merged
        self._report = Report()
        self._dtypes: set[str] = set()
        self._workers = {sign.pack for sign in store.unfinished.signs_of_life() if sign.alive()}
        self._sound: dict[str, list[str]] = {}

    def run(self) -> Report:
        with reading(self._store.root):
            return self._run()

    def _run(self) -> Report:
        store = self._store
        for name in sorted({*names_in(store.tasks, ".parquet"), *names_in(store.cells, ".parquet")}):
            self._check_part(name)
        self._check_once()
        self._check_request()
        for folder in (store.unfinished.running, store.unfinished.states):
            for pack in names_in(folder, STATE):
                self._check_state(folder / f"{pack}{STATE}", pack)
        for folder in (store.unfinished.running, store.failures.folder, store.driver, store.maintenance):
            for name in names_in(folder, ".json"):
                self._check_json(folder / f"{name}.json")
        self._check_strays()
        return self._report

    def _find(self, path: Path, what: str, remove: Iterable[Path]) -> None:
        where = str(path.relative_to(self._store.root))
        what = what.removeprefix(f"{path}: ")
        self._report.findings.append(Finding(where, what, tuple(remove)))

    def _check_part(self, name: str) -> None:
        """A pair of files: whole, of this schema, and right in itself."""
        store = self._store
        paths = tasks, cells = store.file("tasks", name), store.file("cells", name)
        there = [path for path in paths if path.exists()]
        if len(there) < len(paths):
            if there and self._being_merged and name.startswith(MERGED):
                return
            if there and name not in self._workers:
                self._find(there[0], "belongs to no finished pack: the other of its two files is not there", there)
            return
        try:
            for path in paths:
                check_seal(path)
            rows, frame = read_table(tasks, TASKS), read_table(cells, CELLS)
            packs = packs_of(cells)
        except MissingFileError:  # merged since the folder was listed
            return
        except StoreError as error:
            self._find(path, str(error), () if is_out_of_reach(error) else paths)
            return
        found = list(problems(rows, frame, packs))
        if not name.startswith(MERGED) and packs != (name,):
            found.append("holds another pack than its name says")
        for what in found:
            self._find(tasks, what, paths)
        report = self._report
        report.files, report.cells, report.rows = report.files + 2, report.cells + len(frame), report.rows + len(rows)
        self._dtypes.update(frame["dtype"].to_pylist())
        if not found:
            self._sound[name] = frame["cell"].to_pylist()

    def _check_once(self) -> None:
        """No cell in two files, and one dtype."""
        store = self._store
        seen: set[str] = set()
        # Merged files come first, so that it is the small ones that are found to repeat them.
        for name in sorted(self._sound, key=lambda name: (-len(self._sound[name]), name)):
            again = seen & set(self._sound[name])
            if again and self._being_merged:
                self._report.notes.append(f"tasks/{name}.parquet: is being merged into another")
            elif again:
                what = f"{len(again)} of its cells are in another file, too: rows are there twice"
                self._find(store.file("tasks", name), what, (store.file("tasks", name), store.file("cells", name)))
            seen |= set(self._sound[name])
        if len(self._dtypes) > 1:
            self._find(store.root, f"holds cells of several dtypes: {named(sorted(self._dtypes))}", ())

    def _check_request(self) -> None:
        """Every cell that was asked for is there, unless a sweep is at work."""
        path = self._store.root / "sweep.json"
        try:
            requested = {cell.id for cell in requested_cells(self._store.read_sweep() or {})}
        except StoreError as error:
            self._find(path, str(error), (path,))
            return
        missing = requested - {cell for cells in self._sound.values() for cell in cells}
        what = f"{len(missing)} of {len(requested)} cells are not there"
        if missing and self._sweep_at_work:
            self._report.notes.append(f"{what} yet; a sweep is at work")
        elif missing:
            self._find(self._store.root, f"{what}; the same lop-sweep sweep command computes them", ())

    def _check_state(self, path: Path, pack: str) -> None:
        """A checkpoint or a kept state: whole, and of the pack that its name says."""
        try:
            self._report.files += 1
            if PackState.load(path).pack.id != pack:
                self._find(path, "holds another pack than its name says", (path,))
        except StateError as error:
            if not isinstance(error.__cause__, FileNotFoundError):
                self._find(path, str(error), () if is_out_of_reach(error) else (path,))

    def _check_json(self, path: Path) -> None:
        """A record: whole."""
        try:
            self._report.files += 1
            read_json(path)
        except MissingFileError:
            return
        except StoreError as error:
            self._find(path, str(error), () if is_out_of_reach(error) else (path,))

    def _check_strays(self) -> None:
        """Nothing that dead writers have left, and nothing among the results that is none."""
        store = self._store
        folders = (store.tasks, store.cells, store.unfinished.running, store.unfinished.states, store.failures.folder)
        for path in [path for folder in (store.root, *folders) for path in abandoned(folder)]:
            self._find(path, "was left by a writer that died", (path,))
        for folder in (store.tasks, store.cells):
            for name in names_in(folder, ""):
                if not name.endswith(".parquet"):
                    self._find(
                        folder / name,
                        "does not belong here: readers of the folder would trip over it",
                        (folder / name,),
                    )
        aside = sum(path.is_file() for path in (store.root / "aside").rglob("*"))
        if aside:
            self._report.notes.append(f"aside/ holds {aside} files that were set aside; remove them when you like")
