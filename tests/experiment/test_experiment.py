"""The experiment as a state machine: independent of packs and of saving; divergence stays in its cell."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from lop_sweep.config import CellConfig
from lop_sweep.errors import ConfigError, StateError
from lop_sweep.experiment import Experiment, ReferenceExperiment
from lop_sweep.metrics import TaskRow, measured_with
from lop_sweep.storage.serialization import load_state, save_state

History = tuple[list[TaskRow], np.ndarray]


def finish(experiment: Experiment) -> History:
    rows = [experiment.run_task() for _ in range(experiment.tasks - experiment.tasks_done)]
    return rows, experiment.run_fresh_baseline()


def assert_identical(a: History, b: History, cell_a: int = 0, cell_b: int = 0) -> None:
    """Equal to the last bit, NaN equal to NaN."""
    for row_a, row_b in zip(a[0], b[0], strict=True):
        for name in measured_with():
            np.testing.assert_array_equal(row_a[name][cell_a], row_b[name][cell_b], err_msg=name)
    np.testing.assert_array_equal(a[1][cell_a], b[1][cell_b])


@pytest.fixture
def pack(small: CellConfig) -> list[CellConfig]:
    return [
        small.replace(seed=1),
        small.replace(seed=2, lr=0.7),
        small.replace(seed=2, delta=0.0, sigma=0.5, components=2, relabel=0.2),
        small.replace(seed=1, corr_thresh=0.5, spread=0.1),
    ]


@pytest.mark.parametrize("dtype", ["float64", "float32"])
def test_a_cell_does_not_depend_on_its_pack(pack: list[CellConfig], dtype: str) -> None:
    together = finish(Experiment(pack, dtype))
    backwards = finish(Experiment(pack[::-1], dtype))
    for index, config in enumerate(pack):
        alone = finish(Experiment([config], dtype))
        assert_identical(together, alone, index)
        assert_identical(backwards, alone, len(pack) - 1 - index)


@pytest.mark.parametrize("saved_at", [0, 1, 3, 4])
def test_resumed_run_equals_uninterrupted(pack: list[CellConfig], saved_at: int, tmp_path: Path) -> None:
    uninterrupted = finish(Experiment(pack))
    first = Experiment(pack)
    before = [first.run_task() for _ in range(saved_at)]
    save_state(tmp_path / "state.npz", first.state_dict())
    torch.manual_seed(999)  # whatever else happens in the process
    second = Experiment(pack)
    second.run_task()  # loading must undo everything
    second.load_state_dict(load_state(tmp_path / "state.npz"))
    rows, fresh = finish(second)
    for index in range(len(pack)):
        assert_identical((before + rows, fresh), uninterrupted, index, index)


def test_a_state_is_a_copy(small: CellConfig) -> None:
    experiment = Experiment([small])
    state = experiment.state_dict()
    expected = finish(experiment)
    again = Experiment([small])
    again.load_state_dict(state)
    assert_identical(finish(again), expected)
    third = Experiment([small])
    third.load_state_dict(state)
    assert_identical(finish(third), expected)


def test_the_baseline_is_part_of_the_state(small: CellConfig) -> None:
    experiment = Experiment([small])
    _, fresh = finish(experiment)
    again = Experiment([small])
    again.load_state_dict(experiment.state_dict())
    np.testing.assert_array_equal(again.fresh_ce, fresh)
    with pytest.raises(StateError, match="once"):
        again.run_fresh_baseline()


def test_a_foreign_state_is_refused_and_changes_nothing(small: CellConfig) -> None:
    experiment = Experiment([small])
    for other, what in (
        (Experiment([small.replace(seed=9)]).state_dict(), "trajectories"),
        (Experiment([small, small.replace(seed=9)]).state_dict(), "trajectories"),
        (Experiment([small], "float32").state_dict(), "dtype"),
        ({**experiment.state_dict(), "version": 0}, "version"),
    ):
        with pytest.raises(StateError, match=f"the state's {what} is"):
            experiment.load_state_dict(other)
    incomplete = {key: value for key, value in Experiment([small]).state_dict().items() if key != "weights"}
    with pytest.raises(StateError, match="the state lacks weights"):
        experiment.load_state_dict({**incomplete, "tasks_done": 3})
    assert_identical(finish(experiment), finish(Experiment([small])))


def test_tasks_and_baseline_come_in_order(small: CellConfig) -> None:
    experiment = Experiment([small])
    with pytest.raises(StateError, match="after the last task"):
        experiment.run_fresh_baseline()
    finish(experiment)
    with pytest.raises(StateError, match="complete after 4 tasks"):
        experiment.run_task()


def test_float32_follows_float64(small: CellConfig) -> None:
    """One task in a stable regime: single precision's rounding, and no more."""
    wide, narrow = (Experiment([small.replace(lr=0.05)], dtype).run_task() for dtype in ("float64", "float32"))
    for name in ("min_ce", "final_ce", "grad_norm", "effective_rank"):
        np.testing.assert_allclose(narrow[name], wide[name], rtol=1e-4)
    assert not np.array_equal(narrow["final_ce"], wide["final_ce"])


@pytest.mark.parametrize("lr", [1.7e308, 2e307, 5e306])
def test_divergence_stays_in_its_cell(small: CellConfig, lr: float) -> None:
    sane = [small.replace(seed=3), small.replace(seed=4)]
    absurd = small.replace(seed=5, lr=lr)
    experiment = Experiment([sane[0], absurd, sane[1]])
    together = finish(experiment)
    for index, config in ((0, sane[0]), (2, sane[1])):
        assert_identical(together, finish(Experiment([config])), index)
    at = int(experiment.diverged_at[1])
    assert at >= 1
    assert list(experiment.diverged_at[[0, 2]]) == [0, 0]
    for task, row in enumerate(together[0], start=1):
        finite = [np.isfinite(row[name][1]).all() for name in measured_with()]
        empty = [np.isnan(row[name][1]).all() for name in measured_with()]
        assert all(finite) if task < at else all(empty)
    assert not np.isinf(together[1]).any()


def test_huge_finite_numbers_are_not_divergence(small: CellConfig) -> None:
    """With weights near 1e300 tanh saturates and the loss stays finite; squares must not overflow in the metrics."""
    config = small.replace(lr=1e300)
    experiment, reference = Experiment([config]), ReferenceExperiment(config)
    for _ in range(config.tasks):
        ours, expected = experiment.run_task(), reference.run_task()
        assert all(np.isfinite(row[name]).all() for row in (ours, expected) for name in measured_with())
    assert experiment.diverged_at[0] == 0


def test_a_diverged_cell_resumes_as_diverged(small: CellConfig) -> None:
    config = small.replace(lr=1.7e308)
    first = Experiment([config])
    first.run_task()
    second = Experiment([config])
    second.load_state_dict(first.state_dict())
    assert second.diverged_at[0] == 1
    assert_identical(finish(second), finish(first))


def test_divergence_leaves_the_random_streams_unchanged(small: CellConfig) -> None:
    """Fresh networks start from the random streams' position after all tasks, whether the cell was trained or not."""
    config = small.replace(lr=1.7e308, fresh_baseline=3)
    experiment, reference = Experiment([config]), ReferenceExperiment(config)
    for _ in range(config.tasks):
        experiment.run_task()
        row = reference.run_task()
    assert np.isnan(row["final_ce"]).all()
    assert reference.diverged
    state = experiment.state_dict()
    assert state["task_streams"] == [reference.task_rng.bit_generator.state]
    np.testing.assert_array_equal(state["network_streams"], reference.network_rng.state[None])


@pytest.mark.parametrize("lr", [1e306, 1e307, 1e308])
@pytest.mark.parametrize("seed", [0, 5])
def test_reference_and_engine_agree_on_divergence(small: CellConfig, lr: float, seed: int) -> None:
    config = small.replace(lr=lr, seed=seed, steps=1)
    experiment, reference = Experiment([config]), ReferenceExperiment(config)
    for _ in range(config.tasks):
        ours, expected = experiment.run_task(), reference.run_task()
        assert np.isnan(ours["final_ce"]).all() == np.isnan(expected["final_ce"]).all()
        assert not np.isinf(expected["effective_rank"]).any()


@pytest.mark.parametrize(
    "changes",
    [
        {"width": 1}, {"samples": 2}, {"components": 1, "sigma": 0.0}, {"spread": 0.0, "sigma": 0.0, "delta": 0.0},
        {"fresh_baseline": 0}, {"tasks": 1}, {"steps": 1}, {"depth": 1}, {"depth": 12, "width": 3}, {"width": 30},
        {"corr_thresh": 0.0}, {"corr_thresh": 1.0}, {"relabel": 1.0}, {"input_dim": 2}, {"fresh_steps": 1},
    ],
)  # fmt: skip
def test_engine_equals_reference_at_the_edges_of_the_fields(small: CellConfig, changes: dict[str, float]) -> None:
    config = small.replace(lr=0.02, **changes)
    experiment, reference = Experiment([config]), ReferenceExperiment(config)
    for _ in range(config.tasks):
        ours, expected = experiment.run_task(), reference.run_task()
        for name in measured_with():
            np.testing.assert_allclose(ours[name], expected[name], rtol=1e-9, err_msg=name)
    fresh = experiment.run_fresh_baseline()
    assert fresh.shape == (1, config.fresh_baseline)
    np.testing.assert_allclose(fresh, reference.run_fresh_baseline(), rtol=1e-9)


def test_cells_that_do_not_fit_together_are_refused(small: CellConfig) -> None:
    with pytest.raises(ConfigError, match=r"depth = 2, 3 in one pack: .* differ only in seed, components, lr"):
        Experiment([small, small.replace(depth=3)])
    with pytest.raises(ConfigError, match="at least one cell"):
        Experiment([])
    with pytest.raises(ConfigError, match="dtype = 'float16': must be one of float64, float32"):
        Experiment([small], "float16")


def test_time_is_counted_per_cell_and_over_resumptions(small: CellConfig) -> None:
    experiment = Experiment([small, small.replace(seed=2)])
    experiment.run_task()
    before = experiment.seconds
    assert (before > 0).all()
    again = Experiment([small, small.replace(seed=2)])
    again.load_state_dict(experiment.state_dict())
    again.run_task()
    assert (again.seconds > before).all()


def test_resumed_baseline_equals_uninterrupted(small: CellConfig, tmp_path: Path) -> None:
    pack = [small.replace(fresh_baseline=4), small.replace(fresh_baseline=4, seed=3)]
    _, expected = finish(Experiment(pack))
    for trained in range(5):
        first = Experiment(pack)
        for _ in range(first.tasks):
            first.run_task()
        for _ in range(trained):
            first.run_fresh_network()
        save_state(tmp_path / "state", first.state_dict())
        second = Experiment(pack)
        second.load_state_dict(load_state(tmp_path / "state"))
        assert second.fresh_remaining == 4 - trained
        while second.fresh_remaining:
            second.run_fresh_network()
        np.testing.assert_array_equal(second.fresh_ce, expected)


@pytest.mark.parametrize("lr", [0.1, 1.7e308])
def test_extended_run_equals_longer_run(small: CellConfig, lr: float) -> None:
    short, long = small.replace(lr=lr), small.replace(lr=lr, tasks=7, fresh_baseline=3)
    first = Experiment([short])
    rows = [first.run_task() for _ in range(short.tasks)]
    state = first.state_dict()
    short_fresh = first.run_fresh_baseline()  # which must not matter
    second = Experiment([long])
    second.load_state_dict(state)
    more, fresh = finish(second)
    assert_identical((rows + more, fresh), finish(Experiment([long])))
    assert not np.array_equal(fresh[:, :2], short_fresh)  # its streams begin after more tasks
    assert short.id != long.id
    assert short.trajectory == long.trajectory


def test_a_state_with_more_tasks_is_refused(small: CellConfig) -> None:
    first = Experiment([small])
    for _ in range(small.tasks):
        first.run_task()
    with pytest.raises(StateError, match="the state is after 4 tasks, this sequence has 3"):
        Experiment([small.replace(tasks=3)]).load_state_dict(first.state_dict())
    first.run_fresh_network()
    with pytest.raises(StateError, match="the state's cells is"):
        Experiment([small.replace(tasks=6)]).load_state_dict(first.state_dict())


@pytest.mark.parametrize(
    "odd", [{"weights": [1]}, {"seconds": []}, {"task_streams": ["x"]}, {"network_streams": None}, {"tasks_done": "2x"}]
)
def test_a_malformed_state_is_refused_and_changes_nothing(small: CellConfig, odd: dict[str, object]) -> None:
    experiment, other = Experiment([small]), Experiment([small])
    other.run_task()
    with pytest.raises(StateError, match="the state is not that of an experiment"):
        experiment.load_state_dict({**other.state_dict(), **odd})
    assert_identical(finish(experiment), finish(Experiment([small])))


def test_a_single_cell_needs_no_list(small: CellConfig) -> None:
    one, listed = Experiment(small), Experiment([small])
    assert one.configs == listed.configs == (small,)
    np.testing.assert_array_equal(one.run_task()["end_ce"], listed.run_task()["end_ce"])


def test_what_is_no_cell_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"\{'depth': 2\}: not a cell; give CellConfig\(...\)"):
        Experiment([{"depth": 2}])  # type: ignore[list-item]
