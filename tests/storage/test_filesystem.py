"""Every file system fulfils one contract, and a sweep directory needs nothing else."""

from __future__ import annotations

import io
from collections.abc import Iterator
from pathlib import Path
from threading import Barrier, Thread

import memory_files
import pyarrow as pa
import pytest
from four_cells import BASE, GRID
from sweeping import compute_here

from analysis import load_cells, load_tasks
from lop_sweep.errors import InaccessibleFileError, MissingFileError, StoreError
from lop_sweep.pack import Pack
from lop_sweep.planning.status import sweep_status
from lop_sweep.registry import components
from lop_sweep.storage.filesystem import DIRECTORY, filesystem_of, names_in, quarantine, reading, writing
from lop_sweep.storage.maintenance.audit import audit, repair
from lop_sweep.storage.maintenance.compaction import compact
from lop_sweep.storage.retry import MAX_ATTEMPTS, read_consistently
from lop_sweep.storage.store import Store
from lop_sweep.tune.worker import PackRun


@pytest.fixture(params=["local", "memory"])
def folder(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    path = tmp_path if request.param == "local" else Path("memory:/", *tmp_path.parts[1:])
    filesystem_of(path).make_folder(path)
    assert filesystem_of(path) is components("filesystem")[request.param]
    return path


def test_written_files_are_read_listed_and_deleted(folder: Path) -> None:
    files, path = filesystem_of(folder), folder / "a.json"
    for content in (b"", b"first", b"a second one"):
        files.write(path, content)
        assert files.read(path) == content
        assert files.size(path) == len(content)
        with files.open_file(path) as file:
            assert file.seek(0, io.SEEK_END) == len(content)
            file.seek(len(content) // 2)
            assert file.read() == content[len(content) // 2 :]
    assert files.list_names(folder) == ["a.json"]
    assert files.exists(path)
    assert files.kind(path) == ""
    files.delete(path)
    files.delete(path)
    assert not files.exists(path)
    assert files.list_names(folder) == []


def test_missing_files_are_reported_as_such(folder: Path) -> None:
    files, path = filesystem_of(folder), folder / "a"
    for use in (files.read, files.open_file, files.size, lambda path: files.move(path, folder / "b")):
        with pytest.raises(FileNotFoundError):
            use(path)
    assert files.kind(path) == ""
    assert files.list_names(folder / "nowhere") == []
    with pytest.raises(MissingFileError, match="cannot be read"), reading(path):
        files.read(path)


def test_folders_are_folders(folder: Path) -> None:
    files = filesystem_of(folder)
    files.make_folder(folder / "deep" / "down")
    files.make_folder(folder / "deep" / "down")
    assert files.kind(folder / "deep" / "down") == DIRECTORY
    assert files.list_names(folder) == ["deep"]
    files.check_writable(folder / "deep")
    assert files.list_names(folder / "deep") == ["down"]
    with pytest.raises(StoreError, match="cannot be written"), writing(folder):
        files.check_writable(folder / "nowhere")


def test_a_file_is_created_once(folder: Path) -> None:
    """Of eight threads that start together, one creates the file, and its content stays."""
    files, path, barrier = filesystem_of(folder), folder / "000001.json", Barrier(8)
    created: list[bytes] = []

    def create(content: bytes) -> None:
        barrier.wait()
        if files.create(path, content):
            created.append(content)

    threads = [Thread(target=create, args=(b"%d" % number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert created == [files.read(path)]
    assert files.list_names(folder) == ["000001.json"]


def test_temporaries_are_hidden(folder: Path) -> None:
    files, path = filesystem_of(folder), folder / "a.parquet"
    files.write(path, b"content")
    files.move(path, files.temporary(path))
    assert names_in(folder, ".parquet") == []
    assert not files.exists(path)
    files.move(files.temporary(path), path)
    assert files.read(path) == b"content"
    assert files.abandoned(folder) == []


def test_quarantined_files_keep_their_content_and_place(folder: Path) -> None:
    files = filesystem_of(folder)
    files.make_folder(folder / "tasks")
    for content in (b"one", b"two"):
        files.write(folder / "tasks" / "a", content)
        assert files.read(quarantine(folder, folder / "tasks" / "a")) == content
    assert sorted(files.list_names(folder / "aside" / "tasks")) == ["a", "a.2"]


def test_an_unknown_scheme_is_refused() -> None:
    with pytest.raises(StoreError, match="is not a directory on this machine's file systems; give a path"):
        Store("s3://bucket/sweep")
    assert Store("memory://bucket/sweep").root == Path("memory:/bucket/sweep") == Store("memory:/bucket/sweep").root


@pytest.fixture
def in_memory() -> Iterator[Store]:
    """The sweep of `whole`, on the file system in memory."""
    files = components("filesystem")["memory"]
    assert isinstance(files, memory_files.MemoryFileSystem)
    files.__init__()  # type: ignore[misc]
    yield compute_here(GRID, Path("memory:/sweep"))
    files.__init__()  # type: ignore[misc]


def rows(store: Store) -> tuple[pa.Table, pa.Table]:
    tasks, cells = store.read_tasks(), store.read_cells().drop_columns(["seconds"])
    return tasks.sort_by([("cell", "ascending"), ("task", "ascending")]), cells.sort_by("cell")


def test_a_sweep_in_memory_equals_one_on_disk(in_memory: Store, whole: Store) -> None:
    assert rows(in_memory) == rows(whole)
    assert audit(in_memory).findings == []
    assert sweep_status(in_memory).complete
    assert len(load_cells(in_memory.root)) == 4
    assert len(load_tasks(in_memory.root)) == 20
    compact(in_memory)
    assert len(in_memory.segments()) == 1
    assert audit(in_memory).findings == []
    assert rows(in_memory) == rows(whole)


def test_a_sweep_in_memory_is_extended_and_repaired(in_memory: Store, tmp_path: Path) -> None:
    """Kept states and checkpoints serve there as well, and a damaged file is set aside."""
    longer = [cell.replace(tasks=7) for cell in GRID]
    expected = compute_here([*GRID, *longer, BASE.replace(seed=9)], tmp_path / "out")
    compute_here([*GRID, *longer], in_memory.root)
    run = PackRun(Pack((BASE.replace(seed=9),)), store=in_memory)
    run.run_tasks(2)
    run.checkpoint()
    assert in_memory.checkpoints.in_progress() == [run.pack.id]
    assert PackRun(run.pack, store=in_memory).tasks_left == 3
    compute_here([*GRID, *longer, BASE.replace(seed=9)], in_memory.root)
    assert in_memory.checkpoints.in_progress() == []
    assert rows(in_memory) == rows(expected)
    files, path = filesystem_of(in_memory.root), in_memory.file("tasks", in_memory.committed()[0])
    files.write(path, files.read(path)[:-1])
    assert [finding.remove != () for finding in audit(in_memory).findings] == [True, False]
    assert len(repair(in_memory)[1]) == 2
    compute_here([*GRID, *longer, BASE.replace(seed=9)], in_memory.root)
    assert rows(in_memory) == rows(expected)
    assert audit(in_memory).findings == []


def test_errors_are_typed_by_what_they_mean(tmp_path: Path) -> None:
    for error, kind in (
        (FileNotFoundError(2, "no"), MissingFileError),
        (PermissionError(13, "no"), InaccessibleFileError),
        (OSError("PyArrow says so"), StoreError),
        (ValueError("damage"), StoreError),
    ):
        with pytest.raises(StoreError) as raised, reading(tmp_path):
            raise error
        assert type(raised.value) is kind


def test_reading_is_retried_only_while_files_disappear(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("time.sleep", lambda seconds: None)
    calls: list[int] = []

    def read(failures: int, error: Exception) -> int:
        calls.append(1)
        if len(calls) <= failures:
            raise error
        return len(calls)

    assert read_consistently(lambda: read(MAX_ATTEMPTS - 1, MissingFileError("gone"))) == MAX_ATTEMPTS
    for failures, error, expected in ((99, MissingFileError("gone"), MAX_ATTEMPTS), (99, StoreError("damaged"), 1)):
        calls.clear()
        with pytest.raises(type(error)):
            read_consistently(lambda: read(failures, error))  # noqa: B023
        assert len(calls) == expected
