"""Wherever a pack is interrupted, and however it resumes, its rows are those of an undisturbed run."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from sweeping import assert_same_results

from lop_sweep.config import CellConfig
from lop_sweep.errors import StoreError, SweepError
from lop_sweep.metrics import LAYERED, measured_with
from lop_sweep.pack import Pack
from lop_sweep.planning.packing import Sizing
from lop_sweep.planning.plan import make_plan
from lop_sweep.planning.space import SearchSpace
from lop_sweep.registry import components
from lop_sweep.storage.lock import hold_lock
from lop_sweep.storage.pack_state import PackState, merge_numerics, state_bytes
from lop_sweep.storage.store import Store
from lop_sweep.tune.driver import run_sweep
from lop_sweep.tune.trainable import LopTrainable
from lop_sweep.tune.worker import PackRun


@pytest.fixture
def pack(small: CellConfig) -> Pack:
    """Return a pack of three cells, the middle one of which diverges at its first task."""
    return Pack((small, small.replace(seed=2, lr=1.7e308), small.replace(seed=3, lr=0.4)))


@pytest.fixture
def stores(tmp_path: Path) -> Iterator[Store]:
    """Provide new sweep directories."""
    return (made(tmp_path / str(number)) for number in range(1000))


def made(root: Path) -> Store:
    store = Store(root)
    store.create()
    return store


def complete(run: PackRun) -> None:
    run.run_tasks(1000)
    run.finish()


def finished(store: Store, pack: Pack, keep_state: bool = False) -> Store:
    complete(PackRun(pack, store=store, keep_state=keep_state))
    return store


def checkpoint_of(store: Store, pack: Pack) -> Path:
    return store.checkpoints.running / f"{pack.id}.state"


@pytest.mark.parametrize("tasks_done", [1, 2, 3, 4])
def test_a_pack_resumes_from_its_checkpoint_bit_for_bit(stores: Iterator[Store], pack: Pack, tasks_done: int) -> None:
    expected, store = finished(next(stores), pack), next(stores)
    first = PackRun(pack, store=store)
    first.run_tasks(tasks_done)
    first.checkpoint()
    second = PackRun(pack, store=store)
    assert second.experiment.tasks_done == tasks_done
    assert second.note == ""
    complete(second)
    assert_same_results(store.root, expected.root)
    assert list(store.checkpoints.running.iterdir()) == []


def test_a_baseline_resumes_from_its_checkpoint_bit_for_bit(stores: Iterator[Store], pack: Pack) -> None:
    expected, store = finished(next(stores), pack, keep_state=True), next(stores)
    first = PackRun(pack, store=store, keep_state=True)
    first.run_tasks(4)
    first.experiment.run_fresh_network()
    first.checkpoint()
    second = PackRun(pack, store=store)
    assert second.experiment.fresh_remaining == 1
    complete(second)
    assert_same_results(store.root, expected.root)


def test_an_interrupted_baseline_leaves_the_kept_state_intact(stores: Iterator[Store], pack: Pack) -> None:
    """The state is kept before the baseline, whose draws advance the random streams."""
    store = next(stores)
    first = PackRun(pack, store=store, keep_state=True, checkpoint_every=0)
    first.run_tasks(4)
    first.experiment.run_fresh_network = Interruption(first.experiment.run_fresh_network, 1)  # type: ignore[method-assign]
    with pytest.raises(KeyboardInterrupt):
        first.finish()
    complete(PackRun(pack, store=store, keep_state=True))
    longer = Pack(tuple(cell.replace(tasks=6) for cell in pack.cells))
    extended = finished_from(store, longer, (f"states/{pack.id}.state",) * 3)
    assert_rows_of(extended, finished(next(stores), longer), longer)


class Interruption:
    """A function that raises KeyboardInterrupt after some calls."""

    def __init__(self, function: object, calls: int) -> None:
        self._function, self._calls = function, calls

    def __call__(self) -> object:
        if not self._calls:
            raise KeyboardInterrupt
        self._calls -= 1
        return self._function()  # type: ignore[operator]


def finished_from(store: Store, pack: Pack, files: tuple[str, ...]) -> Store:
    run = PackRun(pack, store=store, resume_from=[(name, index) for index, name in enumerate(files)])
    assert run.experiment.tasks_done == 4
    complete(run)
    return store


def assert_rows_of(store: Store, expected: Store, pack: Pack) -> None:
    """Assert that the cells of `pack` have the same results in a store with other cells as in `expected`."""
    ours = store.read_tasks().to_pandas()
    ours = ours[ours["cell"].isin([cell.id for cell in pack.cells])].reset_index(drop=True)
    theirs = expected.read_tasks().to_pandas()
    assert len(ours) == len(theirs) > 0
    for name in ("cell", "task", *(name for name in measured_with() if name not in LAYERED)):
        np.testing.assert_array_equal(ours[name].to_numpy(), theirs[name].to_numpy())
    for name in LAYERED:
        np.testing.assert_array_equal(np.stack(list(ours[name])), np.stack(list(theirs[name])))
    cells = store.read_cells().to_pandas().set_index("cell").loc[[cell.id for cell in pack.cells]]
    fresh = expected.read_cells().to_pandas().set_index("cell").loc[[cell.id for cell in pack.cells]]
    np.testing.assert_array_equal(np.stack(list(cells["fresh_ce"])), np.stack(list(fresh["fresh_ce"])))
    assert list(cells["status"]) == list(fresh["status"])


def test_checkpoints_are_taken_by_time_and_on_request(stores: Iterator[Store], pack: Pack) -> None:
    often, seldom = next(stores), next(stores)
    run = PackRun(pack, store=often, checkpoint_every=0)
    for tasks_done in (1, 2, 3):
        run.run_tasks(1)
        assert PackState.load(checkpoint_of(often, pack)).tasks_done == tasks_done
    run = PackRun(pack, store=seldom, checkpoint_every=1000)
    run.checkpoint()
    assert not checkpoint_of(seldom, pack).exists()  # nothing to save yet
    run.run_tasks(2)
    assert not checkpoint_of(seldom, pack).exists()
    run.checkpoint()
    assert PackState.load(checkpoint_of(seldom, pack)).tasks_done == 2
    complete(run)
    run.checkpoint()
    assert list(seldom.checkpoints.running.iterdir()) == []


def test_a_stop_takes_effect_between_tasks(stores: Iterator[Store], pack: Pack, tmp_path: Path) -> None:
    store, stop = next(stores), tmp_path / "stop"
    run = PackRun(pack, store=store, stopping=stop.exists)
    assert len(run.run_tasks(2)) == 2
    stop.touch()
    assert len(run.run_tasks(2)) == 1
    assert PackState.load(checkpoint_of(store, pack)).tasks_done == 3


def damaged(path: Path) -> Iterator[tuple[str, bytes]]:
    whole = path.read_bytes()
    yield "empty", b""
    yield "torn", whole[: len(whole) // 2]
    yield "cut by a byte", whole[:-1]
    for at in (0, 30, 200, len(whole) // 3, len(whole) // 2, len(whole) - 5):
        yield f"flipped at {at}", whole[:at] + bytes([whole[at] ^ 4]) + whole[at + 1 :]
    yield "foreign", b"PK\x03\x04" + whole


def test_a_damaged_checkpoint_is_quarantined_and_reported(stores: Iterator[Store], pack: Pack) -> None:
    expected, store = finished(next(stores), pack), next(stores)
    first = PackRun(pack, store=store)
    first.run_tasks(2)
    first.checkpoint()
    path = checkpoint_of(store, pack)
    for count, (_, content) in enumerate(list(damaged(path)), start=1):
        path.write_bytes(content)
        run = PackRun(pack, store=store)
        assert "is not a readable state" in run.note
        assert f"set aside as {store.root}/aside/running" in run.note
        assert run.experiment.tasks_done == 0
        assert not path.exists()
        aside = list((store.root / "aside" / "running").iterdir())
        assert len(aside) == count
        assert content in [file.read_bytes() for file in aside]
    complete(run)
    assert_same_results(store.root, expected.root)


def test_another_packs_checkpoint_is_quarantined(stores: Iterator[Store], pack: Pack) -> None:
    store, other = next(stores), Pack(pack.cells[:1])
    run = PackRun(other, store=store)
    run.run_tasks(2)
    run.checkpoint()
    checkpoint_of(store, other).replace(checkpoint_of(store, pack))
    run = PackRun(pack, store=store)
    assert f"belongs to pack {other.id}" in run.note
    assert run.experiment.tasks_done == 0


def test_a_diverging_cell_does_not_change_its_pack(stores: Iterator[Store], pack: Pack) -> None:
    """The pack is interrupted after each task, too."""
    store = next(stores)
    for _ in range(5):  # a new process after every task
        run = PackRun(pack, store=store)
        run.run_tasks(1)
        run.checkpoint()
    complete(run)
    for cell in (pack.cells[0], pack.cells[2]):
        assert_rows_of(store, finished(next(stores), Pack((cell,))), Pack((cell,)))
    assert store.read_cells(["status"])["status"].to_pylist() == ["finished", "diverged", "finished"]


def test_more_tasks_from_kept_states_equal_one_longer_run(stores: Iterator[Store], pack: Pack) -> None:
    """Two cells were finished in different packs, and one is new."""
    store, cells = next(stores), [cell.replace(tasks=7, fresh_baseline=3) for cell in pack.cells]
    for part in (pack.cells[2:], pack.cells[:1]):
        finished(store, Pack(part), keep_state=True)
    space = SearchSpace(cells=cells, name="longer", pack=("seed", "lr"))
    done = set(store.read_cells(["cell"])["cell"].to_pylist())
    items = make_plan(space, done, store, Sizing()).items
    resumed, new = sorted(items, key=lambda item: not item.resume_from)
    assert [len(resumed.pack.cells), len(new.pack.cells)] == [2, 1]
    assert len({name for name, _ in resumed.resume_from}) == 2
    assert new.resume_from == ()
    for item in (resumed, new):
        run = PackRun(item.pack, store=store, resume_from=item.resume_from)
        assert run.experiment.tasks_done == (4 if item is resumed else 0)
        assert run.note == ""
        complete(run)
    for cell in cells:
        assert_rows_of(store, finished(next(stores), Pack((cell,))), Pack((cell,)))


def test_another_baseline_resumes_and_fewer_tasks_start_anew(stores: Iterator[Store], pack: Pack) -> None:
    store = finished(next(stores), pack, keep_state=True)
    shorter = SearchSpace(cells=[cell.replace(tasks=3) for cell in pack.cells], pack=("seed", "lr"))
    (item,) = make_plan(shorter, set(), store, Sizing()).items
    assert item.resume_from == ()
    other = Pack(tuple(cell.replace(fresh_baseline=5, fresh_steps=9) for cell in pack.cells))
    (item,) = make_plan(SearchSpace(cells=other.cells, name="b", pack=("seed", "lr")), set(), store, Sizing()).items
    run = PackRun(other, store=store, resume_from=item.resume_from)
    assert run.tasks_left == 0
    complete(run)
    assert_rows_of(store, finished(next(stores), other), other)


def test_a_longer_or_larger_pack_resumes_from_a_checkpoint(stores: Iterator[Store], pack: Pack) -> None:
    """When seeds are added, they are packed separately, and the old pack keeps its name."""
    store = next(stores)
    run = PackRun(pack, store=store)
    run.run_tasks(2)
    run.checkpoint()
    more = SearchSpace(cells=(*pack.cells, pack.cells[0].replace(seed=99)), name="m", pack=("seed", "lr"))
    packs = make_plan(more, set(), store, Sizing()).items
    assert len(packs) == 2
    assert pack.id in {item.pack.id for item in packs}
    longer = SearchSpace(cells=[cell.replace(tasks=6) for cell in pack.cells], name="l", pack=("seed", "lr"))
    (item,) = make_plan(longer, set(), store, Sizing()).items
    run = PackRun(item.pack, store=store, resume_from=item.resume_from)
    assert run.experiment.tasks_done == 2
    (item,) = make_plan(longer, set(), store, Sizing(dtype="float32")).items
    assert item.resume_from == ()


def test_a_damaged_or_missing_start_is_not_used(stores: Iterator[Store], pack: Pack) -> None:
    store = finished(next(stores), pack, keep_state=True)
    kept = store.checkpoints.states / f"{pack.id}.state"
    longer = Pack(tuple(cell.replace(tasks=6) for cell in pack.cells))
    resume_from = [(f"states/{pack.id}.state", index) for index in range(3)]
    kept.write_bytes(kept.read_bytes()[:-3])
    run = PackRun(longer, store=store, resume_from=resume_from)
    assert "is not a readable state" in run.note
    assert "aside/states" in run.note
    assert run.experiment.tasks_done == 0
    assert not kept.exists()
    run = PackRun(longer, store=store, resume_from=resume_from)
    complete(run)
    assert_rows_of(store, finished(next(stores), longer), longer)


def test_a_checkpoint_of_another_state_version_is_not_used(
    stores: Iterator[Store], pack: Pack, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = next(stores)
    with monkeypatch.context() as older:
        older.setattr("lop_sweep.experiment.experiment.STATE_VERSION", 1)
        run = PackRun(pack, store=store)
        run.run_tasks(2)
        run.checkpoint()
    run = PackRun(pack, store=store)
    assert "the state's version is 1, this experiment's is" in run.note
    assert run.experiment.tasks_done == 0


def test_two_workers_of_one_pack_commit_it_once(stores: Iterator[Store], pack: Pack) -> None:
    """A worker that was only unreachable, and its successor: the later one writes the same files again."""
    expected, store = finished(next(stores), pack), next(stores)
    first, second = PackRun(pack, store=store), PackRun(pack, store=store)
    first.run_tasks(3)
    first.checkpoint()
    complete(second)
    first.run_tasks(1)
    first.checkpoint()  # after the pack was finished
    complete(first)
    assert_same_results(store.root, expected.root)
    assert list(store.checkpoints.running.iterdir()) == []


def test_a_checkpoint_saved_after_the_commit_is_discarded(stores: Iterator[Store], pack: Pack) -> None:
    store = next(stores)
    late = PackRun(pack, store=store)
    late.run_tasks(2)
    finished(store, pack)
    late.checkpoint()
    assert store.checkpoints.in_progress() == [pack.id]
    store.checkpoints.discard_finished(set(store.read_cells(["cell"])["cell"].to_pylist()))
    assert store.checkpoints.in_progress() == []


def test_numerics_list_every_host_of_a_sequence() -> None:
    before = {"host": "a", "blas": "openblas 0.3 SkylakeX, 1 thread"}
    once = merge_numerics(before, {"host": "b", "blas": "openblas 0.3 SkylakeX, 1 thread"})
    assert once == {"host": "a + b", "blas": "openblas 0.3 SkylakeX, 1 thread"}
    assert merge_numerics(once, {"host": "b", "blas": "mkl"})["host"] == "a + b"


@pytest.mark.parametrize(
    ("field", "name", "dtype"),
    [
        ("activation", "crelu", "float32"),
        ("optimizer", "adam", "float32"),
        *(
            (kind, name, "float64")
            for kind in ("optimizer", "norm", "mitigation", "stream")
            for name in components(kind)
        ),
    ],
)
def test_the_size_of_kept_states_is_known_in_advance(
    stores: Iterator[Store], field: str, name: str, dtype: str
) -> None:
    """With what each component remembers."""
    base = CellConfig(**{"width": 100, "depth": 3, "tasks": 1, "steps": 1, "fresh_baseline": 0, field: name})
    cells = tuple(base.replace(seed=seed) for seed in range(3))
    store = next(stores)
    complete(PackRun(Pack(cells), dtype, store, keep_state=True))
    expected = sum(state_bytes(cell, dtype) for cell in cells)
    assert store.checkpoints.kept_bytes() == pytest.approx(expected, rel=0.05)


def test_states_are_kept_only_on_request(stores: Iterator[Store], pack: Pack, tmp_path: Path) -> None:
    store = finished(next(stores), pack)
    assert store.checkpoints.kept() == []
    shutil.rmtree(store.root)
    run = PackRun(pack)  # no store at all
    run.run_tasks(1000)
    assert run.finish()
    assert run.experiment.fresh_ce.shape == (3, 2)
    assert not store.root.exists()


def test_a_damaged_baseline_checkpoint_resumes_from_kept_state(stores: Iterator[Store], pack: Pack) -> None:
    expected, store = finished(next(stores), pack), next(stores)
    run = PackRun(pack, store=store, keep_state=True, checkpoint_every=0)
    run.run_tasks(4)
    run.experiment.run_fresh_network = Interruption(run.experiment.run_fresh_network, 1)  # type: ignore[method-assign]
    with pytest.raises(KeyboardInterrupt):
        run.finish()
    path = checkpoint_of(store, pack)
    path.write_bytes(path.read_bytes()[:-1])
    again = PackRun(pack, store=store, keep_state=True)
    assert "set aside" in again.note
    assert again.experiment.tasks_done == 4
    complete(again)
    assert_same_results(store.root, expected.root)


def test_an_unreadable_checkpoint_is_not_treated_as_damaged(
    stores: Iterator[Store], pack: Pack, monkeypatch: pytest.MonkeyPatch
) -> None:
    """That too many files are open says nothing about the content of this one."""
    store = next(stores)
    run = PackRun(pack, store=store)
    run.run_tasks(2)
    run.checkpoint()

    def fail(path: Path, *flags: int) -> int:
        raise OSError(24, "Too many open files")

    with monkeypatch.context() as patched:
        patched.setattr(os, "open", fail)
        with pytest.raises(StoreError, match="Too many open files"):
            PackRun(pack, store=store)
    assert PackRun(pack, store=store).experiment.tasks_done == 2


def test_a_stop_takes_effect_between_fresh_networks(stores: Iterator[Store], pack: Pack) -> None:
    expected, store, asked = finished(next(stores), pack), next(stores), []
    run = PackRun(pack, store=store, stopping=lambda: bool(asked))
    run.run_tasks(4)
    asked.append(True)
    assert not run.finish()
    assert store.committed() == []
    again = PackRun(pack, store=store)
    assert again.experiment.fresh_remaining == 1
    assert again.finish()
    assert_same_results(store.root, expected.root)


def test_a_pack_whose_driver_was_taken_over_is_not_committed(stores: Iterator[Store], small: CellConfig) -> None:
    """Its cells may be in other packs by then, and would have two rows each."""
    store = next(stores)
    with hold_lock(store.driver, dict) as lock:
        trial = LopTrainable({**small.model_dump(), "run": {"store": str(store.root), "driver": lock.token}})
        for _ in range(3):
            trial.train()
    with hold_lock(store.driver, dict), pytest.raises(StoreError, match="does not see the sweep"):
        trial.train()
    assert store.committed() == []
    trial.cleanup()
    assert [state.tasks_done for state in store.checkpoints.so_far()] == [4]


def test_checkpoints_of_another_dtype_are_not_overwritten(stores: Iterator[Store], pack: Pack) -> None:
    store = next(stores)
    run = PackRun(pack, store=store)
    run.run_tasks(2)
    run.checkpoint()
    space = SearchSpace(cells=pack.cells, pack=("seed", "lr"))
    with pytest.raises(SweepError, match="holds checkpoints in float64, and float32 was asked for"):
        run_sweep(space, store.root, dtype="float32")
    assert PackState.load(checkpoint_of(store, pack)).tasks_done == 2
