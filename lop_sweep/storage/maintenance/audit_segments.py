"""Check the result files of a sweep directory: each segment by itself, and all of them against `sweep.json`."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import pyarrow as pa

from lop_sweep.errors import MissingFileError, StoreError, comma_list
from lop_sweep.prefetch import prefetch
from lop_sweep.storage.filesystem import READERS, filesystem_of, names_in
from lop_sweep.storage.maintenance.audit_files import other_versions, pair
from lop_sweep.storage.maintenance.audit_origin import Asked, Held, foreign, from_elsewhere, unasked
from lop_sweep.storage.maintenance.audit_rows import problems
from lop_sweep.storage.maintenance.report import Report
from lop_sweep.storage.manifest import requested_cells
from lop_sweep.storage.parquet import file_info, packs_of, read_table, unknown_columns, verify_checksum
from lop_sweep.storage.schema import CELLS, tasks_schema
from lop_sweep.storage.store import MERGED, Store


@dataclass
class _Checked:
    """What the check of one pair of files found.

    Attributes:
        report: its findings.
        unreadable: whether another version of the schema wrote one of them.
        held: what a sound pair holds.
    """

    report: Report
    unreadable: bool = False
    held: Held | None = None


@dataclass
class SegmentAudit:
    """One pass over the result files.

    Attributes:
        store: the sweep directory.
        report: where findings and notes go.
        special: paths that are not regular files, which have been found already.
        sweep_at_work: whether a driver holds its lock, so that cells may be missing.
        being_merged: whether a compaction holds its lock, so that cells may be in two files.
    """

    store: Store
    report: Report
    special: Collection[Path]
    sweep_at_work: bool
    being_merged: bool
    _workers: set[str] = field(init=False)
    _sound: dict[str, Held] = field(init=False, default_factory=dict)
    _unreadable: bool = field(init=False, default=False)

    def __post_init__(self) -> None:
        heartbeats = self.store.checkpoints.heartbeats()
        self._workers = {heartbeat.pack for heartbeat in heartbeats if heartbeat.alive()}

    def run(self) -> None:
        """Check all result files and `sweep.json`."""
        folders = (self.store.tasks, self.store.cells)
        names = sorted({name for folder in folders for name in names_in(folder, ".parquet")})
        for name, checked in zip(names, prefetch(self._check_segment, names, READERS), strict=True):
            self.report.add(checked.report)
            self._unreadable |= checked.unreadable
            if checked.held is not None:
                self._sound[name] = checked.held
        asked = self._asked()
        self._check_dtypes()
        self._check_foreign(asked)
        self._check_once(asked)
        self._check_request(asked)

    def _check_segment(self, name: str) -> _Checked:
        """Check that a pair of files is undamaged, of this schema, and consistent in itself. Several run at once."""
        paths, checked = pair(self.store, name), _Checked(Report(self.store.root))
        present = [path for path in paths if filesystem_of(path).exists(path)]
        others = other_versions(present)
        for path, error in others.items():
            checked.report.find_error(path, error, ())
            checked.unreadable = True
        if others or any(path in self.special for path in present):
            return checked
        if len(present) < len(paths):
            self._check_orphan(name, present, checked.report)
            return checked
        rows, frame = (
            self._sound_table(path, schema, paths, checked.report)
            for path, schema in zip(paths, (tasks_schema(), CELLS), strict=True)
        )
        if rows is not None and frame is not None:
            self._check_content(name, rows, frame, checked)
        return checked

    def _check_orphan(self, name: str, present: Sequence[Path], report: Report) -> None:
        if not present or name in self._workers or (self.being_merged and name.startswith(MERGED)):
            return
        report.find(present[0], "belongs to no finished pack: the other of its two files does not exist", present)

    @staticmethod
    def _sound_table(path: Path, schema: pa.Schema, remove: Sequence[Path], report: Report) -> pa.Table | None:
        """Read a file's rows; None if it is damaged, which is then a finding, or has been merged."""
        try:
            verify_checksum(path)
            return read_table(path, schema)
        except MissingFileError:  # merged since the folder was listed
            return None
        except StoreError as error:
            report.find_error(path, error, remove)
            return None

    def _check_content(self, name: str, rows: pa.Table, frame: pa.Table, checked: _Checked) -> None:
        report = checked.report
        paths = tasks, cells = pair(self.store, name)
        try:
            packs, origins = packs_of(cells), {file_info(path).origin for path in paths} - {None}
            unknown = sorted({*unknown_columns(tasks, tasks_schema()), *unknown_columns(cells, CELLS)})
        except MissingFileError:  # merged since the folder was listed
            return
        except StoreError as error:
            report.find_error(cells, error, paths)
            return
        found = list(problems(rows, frame, packs))
        if not name.startswith(MERGED) and packs != (name,):
            found.append("holds another pack than its name says")
        if len(origins) > 1:
            found.append("is of another origin than its cells file")
        if unknown:
            report.notes.append(
                f"tasks/{name}.parquet: has columns that this lop-sweep does not know: {comma_list(unknown)}; "
                "the version that wrote it can check it in full"
            )
        for what in found:  # with unknown fields the file may be sound: they are part of its cells' ids
            report.find(tasks, what, () if unknown else paths)
        report.files, report.cells, report.rows = report.files + 2, report.cells + len(frame), report.rows + len(rows)
        if not found or unknown:
            computed = frame.select(["cell", "dtype", "lop_sweep_version"]).to_pylist()
            checked.held = Held.of(computed, next(iter(origins), None))

    def _asked(self) -> Asked:
        """Read what was asked for; damage is a finding."""
        path = self.store.root / "sweep.json"
        description = {}
        try:
            description = self.store.read_sweep() or {}
            return Asked.by(description, frozenset(cell.id for cell in requested_cells(description)))
        except StoreError as error:
            self.report.find_error(path, error, (path,))
            return Asked.by(description, None)

    def _check_dtypes(self) -> None:
        """Check that all cells have one dtype."""
        dtypes = {dtype for held in self._sound.values() for dtype in held.dtypes}
        if len(dtypes) > 1:
            self.report.find(self.store.root, f"holds cells of several dtypes: {comma_list(sorted(dtypes))}")

    def _check_foreign(self, asked: Asked) -> None:
        """Check that no segment is of another sweep. Cells of an earlier request are worth a note."""
        earlier = elsewhere = 0
        for name, held in list(self._sound.items()):
            what = foreign(held, asked)
            if what:
                self.report.find(pair(self.store, name)[1], what, pair(self.store, name))
                del self._sound[name]
                continue
            earlier += unasked(held, asked)
            elsewhere += len(held.cells) if from_elsewhere(held, asked) else 0
        if earlier:
            self.report.notes.append(f"{earlier} cells were asked for by earlier requests, not by the last one")
        if elsewhere:
            self.report.notes.append(f"{elsewhere} cells that were asked for were computed by another sweep")

    def _check_once(self, asked: Asked) -> None:
        """Check that no cell is in two segments."""
        seen: set[str] = set()

        def order(name: str) -> tuple[bool, int, str]:
            # Merged segments and this sweep's own come first, so that the others are found to repeat them.
            return from_elsewhere(self._sound[name], asked), -len(self._sound[name].cells), name

        for name in sorted(self._sound, key=order):
            again = seen & set(self._sound[name].cells)
            if again and self.being_merged:
                self.report.notes.append(f"tasks/{name}.parquet: is being merged into another")
            elif again:
                what = f"{len(again)} of its cells are in another file, too: rows are there twice"
                self.report.find(pair(self.store, name)[0], what, pair(self.store, name))
            seen |= set(self._sound[name].cells)

    def _check_request(self, asked: Asked) -> None:
        """Check that every cell that was asked for exists, unless a sweep is at work."""
        if asked.cells is None:
            return
        missing = asked.cells - {cell for held in self._sound.values() for cell in held.cells}
        what = f"{len(missing)} of {len(asked.cells)} cells are not there"
        if missing and self.sweep_at_work:
            self.report.notes.append(f"{what} yet; a sweep is at work")
        elif missing and self._unreadable:
            self.report.notes.append(f"{what}, or are in the files of another version of lop-sweep")
        elif missing:
            self.report.find(self.store.root, f"{what}; the same lop-sweep sweep command computes them")
