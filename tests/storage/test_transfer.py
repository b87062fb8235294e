"""Copies of sweeps between directories and buckets."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from four_cells import BASE, GRID
from sweeping import compute_here, raw, run_cli

from lop_sweep.errors import StateError, StoreError, SweepError
from lop_sweep.pack import Pack
from lop_sweep.storage.exclusion import hold_sweep
from lop_sweep.storage.filesystem import FileSystem, filesystem_of, sweep_path
from lop_sweep.storage.maintenance import copy_sweep
from lop_sweep.storage.maintenance.audit import audit
from lop_sweep.storage.store import Store
from lop_sweep.tune.worker import PackRun


def content(store: Store) -> dict[str, bytes]:
    """Return every file that a copy has: all but locks, heartbeats and what belongs to the place."""
    files, found = filesystem_of(store.root), {}
    for folder in (store.root, store.tasks, store.cells, store.checkpoints.states, store.checkpoints.running):
        for name in files.sizes(folder):
            if folder != store.checkpoints.running or name.endswith(".state"):
                found[str((folder / name).relative_to(store.root))] = files.read(folder / name)
    return found


@pytest.fixture
def source(copy: Store) -> Store:
    """A sweep with four finished cells, their states, and a checkpoint of a fifth."""
    run = PackRun(Pack((BASE.replace(seed=9),)), store=copy)
    run.run_tasks(2)
    run.checkpoint()
    return copy


@pytest.fixture(params=["local", "s3"])
def target(request: pytest.FixtureRequest, tmp_path: Path) -> Store:
    return Store(tmp_path / "copy" if request.param == "local" else request.getfixturevalue("bucket"))


def test_a_copy_has_every_byte_and_goes_on(source: Store, target: Store, tmp_path: Path) -> None:
    done = copy_sweep(source, target)
    assert content(target) == content(source)
    assert (done.files, done.written) == (len(content(source)), len(content(source)))
    assert done.bytes == sum(map(len, content(source).values()))
    assert audit(target).findings == []
    again = copy_sweep(source, target)
    assert (again.files, again.written, again.bytes) == (done.files, 0, 0)
    back = Store(tmp_path / "back")
    copy_sweep(target, back)
    assert content(back) == content(source)
    assert back.checkpoints.in_progress() == [Pack((BASE.replace(seed=9),)).id]
    more = [*GRID, BASE.replace(seed=9)]
    compute_here(more, back.root)
    compute_here(more, source.root)
    assert raw(back.root, "tasks").equals(raw(source.root, "tasks"))


def test_an_interrupted_copy_is_completed(source: Store, target: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    """The copy fails again and again after its first write; at no time has the target more cells than tasks."""
    count = 0
    kind = type(filesystem_of(target.root))
    write = kind.write

    def failing(self: FileSystem, path: Path, content: bytes) -> None:
        nonlocal count
        if path.is_relative_to(target.root) and path.suffix in (".parquet", ".state"):
            count += 1
            if count > 1:
                raise OSError(28, "No space left on device")
        write(self, path, content)

    monkeypatch.setattr(kind, "write", failing)
    failures: list[str] = []
    while len(failures) < 20:
        count = 0
        try:
            copy_sweep(source, target)
            break
        except StoreError as error:
            failures.append(str(error))
        tasks, cells = (set(filesystem_of(target.root).list_names(f)) for f in (target.tasks, target.cells))
        assert cells <= tasks
    assert 2 <= len(failures) < 20
    assert all("No space left" in failure for failure in failures)
    assert content(target) == content(source)


def test_a_damaged_result_is_refused_and_a_damaged_state_left_out(
    source: Store, target: Store, caplog: pytest.LogCaptureFixture
) -> None:
    state = next(source.checkpoints.states.iterdir())
    state.write_bytes(state.read_bytes()[:-1])
    copy_sweep(source, target)
    assert "not copied" in caplog.text
    assert set(content(source)) - set(content(target)) == {f"states/{state.name}"}
    path = source.file("tasks", source.committed()[0])
    path.write_bytes(path.read_bytes()[:-40] + bytes(40))
    with pytest.raises(StoreError, match=r"lop-sweep audit .* --repair sets damaged files aside"):
        copy_sweep(source, target)


def test_other_targets_are_refused(source: Store, target: Store, tmp_path: Path) -> None:
    with pytest.raises(StoreError, match=r"is not a directory; give the --out directory"):
        copy_sweep(target, Store(tmp_path / "x"))
    with pytest.raises(StoreError, match="is the source itself"):
        copy_sweep(source, Store(source.root))
    with pytest.raises(StoreError, match="is inside the source"):
        copy_sweep(source, Store(source.tasks))
    compute_here(GRID, target.root)
    before = content(target)
    with pytest.raises(StoreError, match=r"holds another sweep than .*; give an empty place"):
        copy_sweep(source, target)
    assert content(target) == before
    filesystem_of(target.root).delete(target.root / "sweep.json")
    with pytest.raises(StoreError, match=r"holds results without a sweep.json; give an empty place"):
        copy_sweep(source, target)


def test_what_the_target_has_beyond_the_source_stays(source: Store, target: Store) -> None:
    """A larger request with its cells, and a checkpoint with more progress."""
    copy_sweep(source, target)
    run = PackRun(Pack((BASE.replace(seed=9),)), store=target)
    run.run_tasks(1)
    run.checkpoint()
    compute_here([*GRID, BASE.replace(seed=7)], target.root)
    before = content(target)
    assert copy_sweep(source, target).written == 0
    assert content(target) == before
    assert PackRun(Pack((BASE.replace(seed=9),)), store=target).experiment.tasks_done == 3
    assert copy_sweep(target, source).written == 5  # the request, the new cell with its state, and the checkpoint
    assert audit(source).findings == []


def test_a_target_with_the_same_cells_in_other_packs_is_refused(source: Store, target: Store, tmp_path: Path) -> None:
    copy_sweep(source, target)
    for more, store in (((8, 7), source), ((7, 6), target)):
        compute_here([*GRID, *(BASE.replace(seed=seed) for seed in more)], store.root)
    before = content(target)
    with pytest.raises(StoreError, match=r"has computed 1 cells of .* in other packs; give an empty place"):
        copy_sweep(source, target)
    assert content(target) == before


def test_what_cannot_be_read_now_is_not_taken_for_damage(
    source: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    kind = type(filesystem_of(source.root))
    read = kind.read

    def failing(self: FileSystem, path: Path) -> bytes:
        if path.suffix == ending:
            raise OSError(5, "Input/output error")
        return read(self, path)

    monkeypatch.setattr(kind, "read", failing)
    for ending in (".parquet", ".state"):
        with pytest.raises((StoreError, StateError), match="Input/output error") as raised:
            copy_sweep(source, Store(tmp_path / ending))
        assert "repair" not in str(raised.value)


def test_a_target_at_work_is_left_alone(source: Store, tmp_path: Path) -> None:
    target = Store(tmp_path / "copy")
    copy_sweep(source, target)
    for part in ("", "1-of-2"):
        with hold_sweep(target, dict, part), pytest.raises(SweepError, match="has been at work here"):
            copy_sweep(source, target)


def test_the_command_copies_and_says_what(source: Store, tmp_path: Path, bucket: Path) -> None:
    first = run_cli("copy", source.root, bucket)
    assert first.returncode == 0, first.stderr
    assert "8 files copied and compared" in first.stdout
    shutil.rmtree(source.root)
    second = run_cli("copy", bucket, source.root)
    assert second.returncode == 0, second.stderr
    assert audit(source).findings == []
    wrong = run_cli("copy", tmp_path / "nowhere", sweep_path(f"{bucket}/b"))
    assert wrong.returncode == 2
    assert "nowhere: is not a directory; give the --out directory of a sweep" in wrong.stderr
