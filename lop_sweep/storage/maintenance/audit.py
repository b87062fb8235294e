"""Check every rule of a sweep directory on its files, and quarantine the files that break one."""

from __future__ import annotations

from pathlib import Path

from lop_sweep.errors import MissingFileError
from lop_sweep.storage.exclusion import hold_sweep, is_at_work
from lop_sweep.storage.filesystem import filesystem_of, names_in, quarantine, reading
from lop_sweep.storage.lock import hold_lock
from lop_sweep.storage.lock_file import is_held, read_lock
from lop_sweep.storage.maintenance.audit_files import check_kinds, check_records, check_states, check_strays
from lop_sweep.storage.maintenance.audit_segments import SegmentAudit
from lop_sweep.storage.maintenance.report import Report
from lop_sweep.storage.retry import read_consistently
from lop_sweep.storage.store import Store


def audit(store: Store) -> Report:
    """Check every file of a sweep directory.

    Raises:
        SchemaVersionError: another version of the schema wrote `sweep.json`.
        StoreError: it is not a sweep directory, a folder cannot be read, or files keep being merged.
    """
    store.check()
    return read_consistently(lambda: _consistent_report(store))


def repair(store: Store) -> tuple[Report, list[Path]]:
    """Quarantine damaged files, so that the next sweep computes their cells again.

    Returns:
        What was found, and where the files are now.

    Raises:
        SweepError: a sweep, a compaction or another repair is at work.
        SchemaVersionError: another version of the schema wrote `sweep.json`.
        StoreError: it is not a sweep directory, or a file cannot be moved.
    """
    store.check()
    files = filesystem_of(store.root)
    with hold_sweep(store, _repairing), hold_lock(store.maintenance, _repairing):
        report = _report(store, sweep_at_work=False, being_merged=False)
        broken = dict.fromkeys(path for finding in report.findings for path in finding.remove)
        return report, [quarantine(store.root, path) for path in broken if files.exists(path)]


def _repairing() -> dict[str, str]:
    return {"maintenance": "audit --repair"}


def _consistent_report(store: Store) -> Report:
    """Audit a directory once.

    Raises:
        MissingFileError: files were merged or removed meanwhile.
    """
    before = _result_files(store)
    report = _report(store, is_at_work(store), is_held(read_lock(store.maintenance), store.maintenance))
    if before - _result_files(store):
        raise MissingFileError(f"{store.root}: cannot be audited: its files keep being merged or removed")
    return report


def _result_files(store: Store) -> set[str]:
    folders = (store.tasks, store.cells)
    return {f"{folder.name}/{name}" for folder in folders for name in names_in(folder, ".parquet")}


def _report(store: Store, sweep_at_work: bool, being_merged: bool) -> Report:
    report = Report(store.root)
    with reading(store.root):
        special = check_kinds(store, report)
        SegmentAudit(store, report, special, sweep_at_work, being_merged).run()
        check_states(store, report, special)
        check_records(store, report, special)
        check_strays(store, report, special)
    return report
