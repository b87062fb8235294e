"""Only regular files are read: no command waits for a FIFO, a device or a dangling link."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from four_cells import GRID, SPACE
from sweeping import assert_same_results, compute_here

from analysis import load_cells, load_requested, load_tasks
from lop_sweep.cli import main
from lop_sweep.errors import LopSweepError, SpecialFileError, StoreError
from lop_sweep.planning.status import sweep_status
from lop_sweep.storage.filesystem import LocalFileSystem
from lop_sweep.storage.lock import hold_lock
from lop_sweep.storage.maintenance.audit import audit, repair
from lop_sweep.storage.maintenance.compaction import compact
from lop_sweep.storage.pack_state import PackState
from lop_sweep.storage.store import Store
from lop_sweep.tune.driver import run_sweep
from lop_sweep.tune.worker import PackRun

FILES = LocalFileSystem()
MAKERS: dict[str, Callable[[Path], object]] = {
    "a FIFO": os.mkfifo,
    "a directory": Path.mkdir,
    "a dangling link": lambda path: path.symlink_to("nowhere"),
    "a link to itself": lambda path: path.symlink_to(path.name),
    "a character device": lambda path: path.symlink_to("/dev/zero"),
    "a socket": lambda path: bind(path),
}
COMMON = ("a FIFO", "a directory", "a dangling link")
PLACES = (
    "tasks/PACK.parquet", "cells/PACK.parquet", "tasks/.hidden", "states/PACK.state", "running/PACK.state",
    "running/PACK.json", "failed/PACK.json", "driver/000009.json", "maintenance/000009.json", "sweep.json",
)  # fmt: skip


def bind(path: Path) -> None:
    """Make a socket; its address may be shorter than the path of a test's folder."""
    folder = os.open(path.parent, os.O_RDONLY)
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(f"/proc/self/fd/{folder}/{path.name}")
    os.close(folder)


@pytest.fixture(autouse=True)
def at_once() -> Iterator[None]:
    """Fail a test that waits for a special file."""

    def waited(number: int, frame: object) -> None:
        raise AssertionError("waited for a special file")

    before = signal.signal(signal.SIGALRM, waited)
    signal.alarm(20)
    yield
    signal.alarm(0)
    signal.signal(signal.SIGALRM, before)


def place(store: Store, where: str, kind: str) -> Path:
    path = store.root / where.replace("PACK", store.committed()[0])
    path.parent.mkdir(exist_ok=True)
    path.unlink(missing_ok=True)
    MAKERS[kind](path)
    return path


def swiftly(use: Callable[[], object]) -> None:
    """Check that something works or is refused on one line, without waiting."""
    start, refusal = time.monotonic(), "none"
    try:
        use()
    except LopSweepError as error:
        refusal = str(error)
    assert len(refusal.splitlines()) == 1
    assert time.monotonic() - start < 5


@pytest.mark.parametrize(
    ("kind", "where"),
    [(kind, where) for kind in MAKERS for where in (PLACES if kind in COMMON else PLACES[:1])],
)
def test_special_files_are_findings_and_can_be_set_aside(copy: Store, whole: Store, kind: str, where: str) -> None:
    path = place(copy, where, kind)
    name = str(path.relative_to(copy.root))
    found = [finding for finding in audit(copy).findings if finding.where == name]
    assert len(found) == 1
    assert kind in found[0].what
    assert path in found[0].remove
    for read in (load_tasks, load_cells, load_requested, lambda root: sweep_status(Store(root))):
        swiftly(lambda read=read: read(copy.root))  # type: ignore[misc]
    swiftly(copy.checkpoints.start_points)
    swiftly(copy.checkpoints.so_far)
    if where.startswith(("driver", "maintenance")):  # a lock could be behind it
        with pytest.raises(SpecialFileError, match=f"{path.name}: is {kind}; only regular files are read"):
            repair(copy)
        return
    assert path in [copy.root / moved.relative_to(copy.root / "aside") for moved in repair(copy)[1]]
    assert not os.path.lexists(path)
    copy.collect_garbage()
    compute_here(GRID, copy.root)
    assert [finding for finding in audit(copy).findings if finding.where == name] == []
    assert_same_results(copy.root, whole.root)


@pytest.mark.parametrize("kind", MAKERS)
def test_readers_name_what_is_not_a_file(copy: Store, kind: str) -> None:
    path = place(copy, "cells/PACK.parquet", kind)
    for use in (
        lambda: copy.read_cells(), lambda: compact(copy), lambda: run_sweep(SPACE, copy.root),
        lambda: load_cells(copy.root),
    ):  # fmt: skip
        start = time.monotonic()
        with pytest.raises(StoreError, match=f"{path.name}: is {kind}; only regular files are read"):
            use()
        assert time.monotonic() - start < 2


@pytest.mark.parametrize("kind", MAKERS)
def test_a_special_sweep_json_is_not_overwritten(copy: Store, capsys: pytest.CaptureFixture[str], kind: str) -> None:
    path = place(copy, "sweep.json", kind)
    shutil.rmtree(copy.driver)
    for command in ("status", "compact"):
        assert main([command, str(copy.root)]) == 2
        assert f"sweep.json: is {kind}; only regular files are read" in capsys.readouterr().err
    with pytest.raises(SpecialFileError, match=rf"sweep\.json: is {kind}"):
        run_sweep(SPACE, copy.root)
    assert FILES.kind(path) == kind
    assert not copy.driver.exists()


@pytest.mark.parametrize("folder", ["driver", "maintenance"])
@pytest.mark.parametrize("kind", MAKERS)
def test_nobody_waits_for_a_special_lock_file(copy: Store, folder: str, kind: str) -> None:
    path = place(copy, f"{folder}/000009.json", kind)
    with pytest.raises(SpecialFileError, match=f"{path.name}: is {kind}"), hold_lock(path.parent, dict):
        pass
    sweep_status(copy)


@pytest.mark.parametrize("folder", ["running", "states"])
@pytest.mark.parametrize("kind", MAKERS)
def test_a_pack_with_a_special_state_is_refused(copy: Store, folder: str, kind: str) -> None:
    pack = PackState.load(next(copy.checkpoints.states.iterdir())).pack
    path = place(copy, f"{folder}/{pack.id}.state", kind)
    with pytest.raises(StoreError, match=f"{path.name}: is {kind}; only regular files are read"):
        PackRun(pack, store=copy)
    state = PackRun(pack).state()
    for save in (copy.checkpoints.save, copy.checkpoints.keep):
        if path.parent == (copy.checkpoints.running if save == copy.checkpoints.save else copy.checkpoints.states):
            with pytest.raises(SpecialFileError, match=f"{path.name}: is {kind}; only regular files are replaced"):
                save(state)
    assert FILES.kind(path) == kind


def test_a_folder_that_is_a_dangling_link_is_not_an_empty_one(copy: Store) -> None:
    shutil.move(copy.cells, copy.root.parent / "elsewhere")
    copy.cells.symlink_to(copy.root.parent / "elsewhere")
    assert len(copy.read_cells()) == 4
    shutil.move(copy.root.parent / "elsewhere", copy.root.parent / "unmounted")
    for use in (copy.segments, lambda: audit(copy), lambda: run_sweep(SPACE, copy.root)):
        with pytest.raises(SpecialFileError, match="cells: is a dangling link"):
            use()


def test_links_to_files_are_files(copy: Store, whole: Store) -> None:
    for path in [*copy.tasks.iterdir(), *copy.checkpoints.states.iterdir(), copy.root / "sweep.json"]:
        target = copy.root.parent / f"{path.parent.name}-{path.name}"
        shutil.move(path, target)
        path.symlink_to(target)
    assert audit(copy).findings == []
    assert_same_results(copy.root, whole.root)


def test_a_file_that_becomes_a_fifo_is_not_waited_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The file is replaced between the check of its kind and its opening."""
    path = tmp_path / "file"
    path.write_bytes(b"content")
    assert FILES.read(path) == b"content"
    opened = os.open

    def swapped(name: Path, flags: int) -> int:
        Path(name).unlink()
        os.mkfifo(name)
        return opened(name, flags)

    monkeypatch.setattr(os, "open", swapped)
    descriptors = len(os.listdir("/proc/self/fd"))
    with pytest.raises(SpecialFileError, match="is a FIFO"):
        FILES.open_file(path)
    assert len(os.listdir("/proc/self/fd")) == descriptors
