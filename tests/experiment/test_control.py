"""Control networks: fresh ones on the points, in the order and with the budget of the main network."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import stateful_components  # noqa: F401

from lop_sweep.components import Purpose, check, random_stream
from lop_sweep.config import CellConfig
from lop_sweep.errors import ConfigError
from lop_sweep.experiment import Experiment, ReferenceExperiment, batch, reference
from lop_sweep.experiment.network import TorchRng, control_rngs
from lop_sweep.metrics import METRICS, Control, Observation, measured, measured_with
from lop_sweep.storage.serialization import load_state, save_state

CONFIG = CellConfig(seed=3, width=6, depth=2, samples=12, lr=0.3, steps=6, tasks=6, fresh_baseline=2, control_every=2)
OF_CONTROL = {name: name.removeprefix("control_") for name, metric in METRICS.items() if metric.of_control}


def rows_of(**fields: Any) -> list[dict[str, np.ndarray]]:
    experiment = Experiment([CONFIG.replace(**fields)])
    return [experiment.run_task() for _ in range(CONFIG.tasks)]


def test_they_are_measured_at_every_kth_task() -> None:
    assert set(OF_CONTROL.values()) == {"end_ce", "final_ce", "online_ce"}
    assert set(measured(CONFIG)) == {*measured_with(), *OF_CONTROL} == set(measured_with("", control=True))
    for number, row in enumerate(rows_of(control_every=3), 1):
        for name in OF_CONTROL:
            assert np.isnan(row[name][0]) == (number % 3 != 0)
            assert row[name][0] != row[OF_CONTROL[name]][0]


def test_a_first_control_after_the_last_task_is_refused() -> None:
    check(CONFIG.replace(control_every=CONFIG.tasks))
    with pytest.raises(ConfigError, match="control_every = 7: must be at most tasks = 6, else no task has one"):
        check(CONFIG.replace(control_every=CONFIG.tasks + 1))


def test_a_control_does_not_disturb_the_main_network() -> None:
    plain, more = (Experiment([CONFIG.replace(control_every=every)]) for every in (0, 1))
    for _ in range(CONFIG.tasks):
        row, other = plain.run_task(), more.run_task()
        assert not set(OF_CONTROL) & set(row)
        for name in row:
            np.testing.assert_array_equal(row[name], other[name], err_msg=name)
    np.testing.assert_array_equal(plain.run_fresh_baseline(), more.run_fresh_baseline())


@pytest.mark.parametrize(
    "fields", [{}, {"batch_size": 5}, {"batch_size": 1, "optimizer": "test_momentum"}, {"weight_decay": 0.1}], ids=str
)
@pytest.mark.parametrize("module", [batch, reference], ids=["engine", "reference"])
def test_a_control_with_the_main_networks_weights_has_its_losses(
    fields: dict[str, Any], module: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """So it has the same points, order, budget and updates. Nothing but the weights differs."""

    def same_weights(config: CellConfig, number: int) -> tuple[TorchRng, np.random.Generator]:
        return TorchRng(config.seed), random_stream(config.seed, Purpose.MITIGATION, number)

    monkeypatch.setattr(module, "control_rngs", same_weights)
    config = CONFIG.replace(control_every=1, **fields)
    row = (Experiment([config]) if module is batch else ReferenceExperiment(config)).run_task()
    for name, of_main in OF_CONTROL.items():
        assert row[name][0] == row[of_main][0]


def test_each_task_of_each_cell_has_its_own_control() -> None:
    draws = {
        (seed, number): control_rngs(CONFIG.replace(seed=seed), number)[0].state.numpy().tobytes()
        for seed in (1, 2) for number in (1, 2, 3)
    }  # fmt: skip
    assert len(set(draws.values())) == 6
    assert TorchRng(1).state.numpy().tobytes() not in draws.values()
    first, again = (rows_of(control_every=every) for every in (1, 2))
    for name in OF_CONTROL:  # a task's control is the same whatever other controls there are
        assert first[3][name] == again[3][name]


@pytest.mark.parametrize("saved_at", range(7))
def test_a_resumed_sequence_has_the_same_controls(saved_at: int, tmp_path: Path) -> None:
    config = CONFIG.replace(batch_size=5, optimizer="test_momentum")
    uninterrupted, first = Experiment([config]), Experiment([config])
    rows = [uninterrupted.run_task() for _ in range(config.tasks)]
    for _ in range(saved_at):
        first.run_task()
    save_state(tmp_path / "state", first.state_dict())
    second = Experiment([config])
    second.load_state_dict(load_state(tmp_path / "state"))
    for row in rows[saved_at:]:
        again = second.run_task()
        assert again.keys() == row.keys()
        for name in row:
            np.testing.assert_array_equal(again[name], row[name], err_msg=name)


@pytest.mark.parametrize("name", OF_CONTROL)
@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_a_control_that_diverges_is_undefined(name: str, bad: float) -> None:
    losses, end = np.array([[1.0, bad, 3.0], [0.5, 0.4, 0.3]]), np.array([0.5, 0.4, bad])
    empty = np.zeros((3, 1, 2, 2))
    task = Observation(losses, end, end, empty, empty, empty[:, 0], end[:, None], control=Control(losses, end))
    assert np.isnan(METRICS[name].compute(task)).tolist() == [False, True, True]


def test_the_field_chooses_them_and_not_their_names() -> None:
    with pytest.raises(ConfigError, match="metrics = control_end_ce: cells with control_every measure it; choose from"):
        measured(CONFIG.replace(metrics=["control_end_ce"]))
    assert CONFIG.replace(control_every=0).id == CellConfig(**{**CONFIG.model_dump(), "control_every": 0}).id
    assert CONFIG.id != CONFIG.replace(control_every=0).id
