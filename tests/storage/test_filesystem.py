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
from lop_sweep.storage.filesystem import DIRECTORY, filesystem_of, names_in, quarantine, reading, sweep_path, writing
from lop_sweep.storage.maintenance.audit import audit, repair
from lop_sweep.storage.maintenance.compaction import compact
from lop_sweep.storage.retry import MAX_ATTEMPTS, read_consistently
from lop_sweep.storage.store import Store
from lop_sweep.tune.worker import PackRun


@pytest.fixture(params=["local", "memory", "s3"])
def folder(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    path = tmp_path if request.param == "local" else sweep_path(f"memory:/{tmp_path}")
    if request.param == "s3":
        path = request.getfixturevalue("bucket") / "contract"
    filesystem_of(path).make_folder(path)
    assert filesystem_of(path) is components("filesystem")[request.param]
    return path


def test_written_files_are_read_listed_and_deleted(folder: Path) -> None:
    files, path = filesystem_of(folder), folder / "a.json"
    for content in (b"", b"first", b"a second one"):
        files.write(path, content)
        assert files.read(path) == content
        assert files.sizes(folder) == {"a.json": len(content)}
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
    assert files.sizes(folder / "nowhere") == {}
    for use in (files.read, files.open_file, lambda path: files.move(path, folder / "b")):
        with pytest.raises(FileNotFoundError):
            use(path)
    assert files.kind(path) == ""
    assert files.list_names(folder / "nowhere") == []
    with pytest.raises(MissingFileError, match="cannot be read"), reading(path):
        files.read(path)


def test_folders_are_folders(folder: Path) -> None:
    files, path = filesystem_of(folder), folder / "deep" / "down" / "a"
    files.make_folder(path.parent)
    files.make_folder(path.parent)
    files.write(path, b"content")
    assert files.kind(path.parent) == files.kind(folder / "deep") == DIRECTORY
    assert files.exists(folder / "deep")
    assert files.list_names(folder) == ["deep"]
    files.check_writable(folder / "deep")
    assert files.list_names(folder / "deep") == ["down"]
    assert files.sizes(folder / "deep") == {}


@pytest.mark.parametrize("where", ["nowhere", "s3://no-such-bucket/sweep"])
def test_what_cannot_be_written_is_reported(where: str, tmp_path: Path, bucket: Path) -> None:
    path = sweep_path(where if "://" in where else tmp_path / where)
    with pytest.raises(StoreError, match="cannot be written"), writing(path):
        filesystem_of(path).check_writable(path)


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
    for uri in ("https://you:secret@host/sweep?sig=secret", "local://sweep", "://"):
        with pytest.raises(StoreError, match="give a path, or one of s3://, gs://, az://") as raised:
            Store(uri)
        assert "secret" not in str(raised.value)
    for uri in (
        "s3://",
        "s3:///",
        "s3://you:secret@bucket/sweep",
        "s3://bucket/../other",
        "s3://bucket/sweep?versionId=secret",
    ):
        with pytest.raises(StoreError, match="write s3://BUCKET/PREFIX, without credentials") as raised:
            Store(uri)
        assert "secret" not in str(raised.value)
    assert Store("memory://bucket/sweep").root == Path("memory:/bucket/sweep") == Store("memory:/bucket/sweep").root


def test_paths_of_other_file_systems_are_written_as_uris() -> None:
    root = sweep_path("s3://bucket//a/b/")
    assert [str(root), str(root / "c"), str(root.parent.parent)] == [
        "s3://bucket/a/b",
        "s3://bucket/a/b/c",
        "s3://bucket",
    ]
    assert sweep_path(str(root)) == sweep_path("s3:/bucket/a/b") == root
    assert str((root / "c" / "d").relative_to(root)) == "c/d"


@pytest.fixture
def in_memory() -> Iterator[Store]:
    """The sweep of `whole`, on the file system in memory."""
    files = components("filesystem")["memory"]
    assert isinstance(files, memory_files.MemoryFileSystem)
    files.__init__()  # type: ignore[misc]
    yield compute_here(GRID, Path("memory:/sweep"))
    files.__init__()  # type: ignore[misc]


@pytest.fixture
def on_s3(bucket: Path) -> Store:
    """The sweep of `whole`, in a bucket."""
    return compute_here(GRID, bucket / "sweep")


@pytest.fixture(params=["in_memory", "on_s3"])
def elsewhere(request: pytest.FixtureRequest) -> Store:
    """The sweep of `whole`, on another file system than the local one."""
    return request.getfixturevalue(request.param)


def rows(store: Store) -> tuple[pa.Table, pa.Table]:
    tasks, cells = store.read_tasks(), store.read_cells().drop_columns(["seconds"])
    return tasks.sort_by([("cell", "ascending"), ("task", "ascending")]), cells.sort_by("cell")


def test_a_sweep_elsewhere_equals_one_on_disk(elsewhere: Store, whole: Store) -> None:
    assert rows(elsewhere) == rows(whole)
    assert audit(elsewhere).findings == []
    assert sweep_status(elsewhere).complete
    assert len(load_cells(elsewhere.root)) == 4
    assert len(load_tasks(elsewhere.root)) == 20
    compact(elsewhere)
    assert len(elsewhere.segments()) == 1
    assert audit(elsewhere).findings == []
    assert rows(elsewhere) == rows(whole)


def test_a_sweep_elsewhere_is_extended_and_repaired(elsewhere: Store, tmp_path: Path) -> None:
    """Kept states and checkpoints serve there as well, and a damaged file is set aside."""
    longer = [cell.replace(tasks=7) for cell in GRID]
    expected = compute_here([*GRID, *longer, BASE.replace(seed=9)], tmp_path / "out")
    compute_here([*GRID, *longer], elsewhere.root)
    run = PackRun(Pack((BASE.replace(seed=9),)), store=elsewhere)
    run.run_tasks(2)
    run.checkpoint()
    assert elsewhere.checkpoints.in_progress() == [run.pack.id]
    assert PackRun(run.pack, store=elsewhere).tasks_left == 3
    compute_here([*GRID, *longer, BASE.replace(seed=9)], elsewhere.root)
    assert elsewhere.checkpoints.in_progress() == []
    assert rows(elsewhere) == rows(expected)
    files, path = filesystem_of(elsewhere.root), elsewhere.file("tasks", elsewhere.committed()[0])
    files.write(path, files.read(path)[:-1])
    assert [finding.remove != () for finding in audit(elsewhere).findings] == [True, False]
    assert len(repair(elsewhere)[1]) == 2
    compute_here([*GRID, *longer, BASE.replace(seed=9)], elsewhere.root)
    assert rows(elsewhere) == rows(expected)
    assert audit(elsewhere).findings == []


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
