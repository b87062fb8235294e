"""Check all files of a sweep directory but the result files: saved states, records, and whatever does not belong."""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path

from lop_sweep.errors import MissingFileError, MissingStateError, SchemaVersionError, StateError, StoreError
from lop_sweep.storage.checkpoints import STATE
from lop_sweep.storage.filesystem import DIRECTORY, filesystem_of, names_in
from lop_sweep.storage.maintenance.report import Report
from lop_sweep.storage.pack_state import PackState
from lop_sweep.storage.parquet import file_info
from lop_sweep.storage.records import read_json
from lop_sweep.storage.store import Store


def check_kinds(store: Store, report: Report) -> set[Path]:
    """Check that all folders contain only regular files; return the paths of others.

    Raises:
        OSError: a folder or a file cannot be examined.
    """
    files, special = filesystem_of(store.root), set()
    for folder in store.folders:
        names = set(files.list_names(folder)) - set(files.sizes(folder)) if files.kind(folder) == DIRECTORY else ()
        for name in sorted(names):  # those that are not regular files
            path = folder / name
            kind = files.kind(path)
            if kind:
                special.add(path)
                report.find(path, f"is {kind}; only regular files belong here", _with_its_pair(store, path))
    return special


def check_states(store: Store, report: Report, special: Collection[Path]) -> None:
    """Check that checkpoints and kept states are undamaged, and are of the packs that their names say."""
    for folder in (store.checkpoints.running, store.checkpoints.states):
        for pack in names_in(folder, STATE):
            path = folder / f"{pack}{STATE}"
            if path in special:
                continue
            report.files += 1
            try:
                if PackState.load(path).pack.id != pack:
                    report.find(path, "holds another pack than its name says", (path,))
            except MissingStateError:
                continue
            except (StateError, SchemaVersionError) as error:
                report.find_error(path, error, (path,))


def check_records(store: Store, report: Report, special: Collection[Path]) -> None:
    """Check that heartbeats, failure records and locks are undamaged."""
    for folder in (store.checkpoints.running, store.failures.folder, *store.lock_folders(), store.maintenance):
        for name in names_in(folder, ".json"):
            path = folder / f"{name}.json"
            if path in special:
                continue
            report.files += 1
            try:
                read_json(path)
            except MissingFileError:
                continue
            except StoreError as error:
                report.find_error(path, error, (path,))


def check_strays(store: Store, report: Report, special: Collection[Path]) -> None:
    """Check for leftovers of crashed writers, and for files among the results that are not results.

    Raises:
        OSError: a folder cannot be read.
    """
    files = filesystem_of(store.root)
    locks = (store.driver, store.maintenance)
    for folder in (store.root, *(folder for folder in store.folders if folder not in locks)):
        for path in files.abandoned(folder):
            report.find(path, "was left by a writer that is gone", (path,))
    for folder in (store.tasks, store.cells):
        for name in names_in(folder, ""):
            path = folder / name
            if path.suffix != ".parquet" and path not in special:
                report.find(path, "does not belong here: readers of the folder would fail on it", (path,))
    aside = _count_quarantined(store)
    if aside:
        report.notes.append(f"aside/ holds {aside} files that were set aside; remove them when you like")


def pair(store: Store, name: str) -> tuple[Path, Path]:
    """Return the paths of a segment's tasks file and cells file."""
    return store.file("tasks", name), store.file("cells", name)


def other_versions(paths: Collection[Path]) -> dict[Path, SchemaVersionError]:
    """Return the result files that another version of the schema wrote, and the error for each."""
    found = {}
    for path in paths:
        try:
            file_info(path)
        except SchemaVersionError as error:
            found[path] = error
        except StoreError:  # found again when the whole file is read
            continue
    return found


def _with_its_pair(store: Store, path: Path) -> list[Path]:
    """Return the file and the other one of its segment, unless another version of the schema wrote that."""
    if path.suffix != ".parquet" or path.parent not in (store.tasks, store.cells):
        return [path]
    present = [one for one in pair(store, path.stem) if filesystem_of(one).exists(one)]
    others = other_versions(present)
    return [one for one in present if one not in others]


def _count_quarantined(store: Store) -> int:
    """Count what `aside` and its folders hold, without following links below them."""
    files, aside = filesystem_of(store.root), store.root / "aside"
    names = set(files.list_names(aside))
    folders = names & {folder.name for folder in store.folders}
    return len(names - folders) + sum(len(files.list_names(aside / name)) for name in folders)
