"""The trainable without Ray processes: what it reports, writes, saves and discards."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from lop_sweep.config import CellConfig
from lop_sweep.errors import ConfigError, StateError
from lop_sweep.experiment.experiment import Experiment
from lop_sweep.metrics import measured_with
from lop_sweep.pack import Pack
from lop_sweep.planning.plan import WorkItem
from lop_sweep.storage.store import Store
from lop_sweep.tune.trainable import LopTrainable


@pytest.fixture
def pack(small: CellConfig) -> Pack:
    return Pack((small, small.replace(seed=2, lr=0.3)))


@pytest.fixture
def store(tmp_path: Path) -> Store:
    store = Store(tmp_path / "sweep")
    store.create()
    return store


def run(trainable: LopTrainable) -> list[dict[str, Any]]:
    results = [trainable.train()]
    while not results[-1]["done"]:
        results.append(trainable.train())
    return results


def test_one_step_is_one_task_and_reports_means(pack: Pack) -> None:
    results = run(LopTrainable({"pack": pack.to_config()}))
    experiment = Experiment(pack.cells)
    assert [result["tasks_done"] for result in results] == [1, 2, 3, 4]
    for result in results:
        row = experiment.run_task()
        for name in measured_with():
            assert result[name] == pytest.approx(row[name].mean(), rel=1e-14)
        assert ("fresh_mean_ce" in result) == result["done"] == (result["tasks_done"] == 4)
    fresh = experiment.run_fresh_baseline()
    assert results[-1]["fresh_mean_ce"] == pytest.approx(fresh.mean())
    assert results[-1]["fresh_median_ce"] == pytest.approx(np.median(fresh, axis=1).mean())


def test_tasks_per_report_change_no_number(pack: Pack, store: Store) -> None:
    config = {"pack": pack.to_config(), "run": {"store": str(store.root), "tasks_per_report": 3}}
    results = run(LopTrainable(config))
    assert [result["tasks_done"] for result in results] == [3, 4]
    in_threes = pd.read_parquet(store.tasks)
    run(LopTrainable({**config, "run": {**config["run"], "tasks_per_report": 1}}))
    pd.testing.assert_frame_equal(pd.read_parquet(store.tasks), in_threes, check_exact=True)


def test_a_finished_pack_is_in_the_store(pack: Pack, store: Store) -> None:
    trainable = LopTrainable({"pack": pack.to_config(), "run": {"store": str(store.root)}})
    assert [heartbeat.pack for heartbeat in store.checkpoints.heartbeats()] == [pack.id]
    run(trainable)
    assert store.committed() == [pack.id]
    assert store.checkpoints.heartbeats() == []
    cells = store.read_cells().to_pandas()
    assert list(cells["cell"]) == [cell.id for cell in pack.cells]
    assert set(cells["status"]) == {"finished"}
    assert (cells[["engine", "dtype", "device"]] == ["fast", "float64", "cpu"]).all(axis=None)
    assert cells["blas"].str.contains("1 thread").all()
    assert (cells["seconds"] > 0).all()
    assert len(pd.read_parquet(store.tasks)) == 8


def test_restored_trial_continues_bit_for_bit(pack: Pack, store: Store, tmp_path: Path) -> None:
    config = {"pack": pack.to_config(), "run": {"store": str(store.root)}}
    run(LopTrainable(config))
    uninterrupted = pd.read_parquet(store.tasks)
    cells = pd.read_parquet(store.cells)
    for path in (*store.tasks.iterdir(), *store.cells.iterdir()):
        path.unlink()

    first = LopTrainable(config)
    first.train()
    first.train()
    checkpoint = first.save(str(tmp_path / "checkpoint"))
    second = LopTrainable(config)
    second.train()
    second.restore(checkpoint)
    assert [result["tasks_done"] for result in run(second)] == [3, 4]
    pd.testing.assert_frame_equal(pd.read_parquet(store.tasks), uninterrupted, check_exact=True)
    pd.testing.assert_frame_equal(
        pd.read_parquet(store.cells).drop(columns="seconds"), cells.drop(columns="seconds"), check_exact=True
    )


def test_a_checkpoint_before_the_first_task_works(pack: Pack, tmp_path: Path) -> None:
    first = LopTrainable({"pack": pack.to_config()})
    checkpoint = first.save(str(tmp_path / "c"))
    second = LopTrainable({"pack": pack.to_config()})
    second.train()
    second.restore(checkpoint)
    assert second.train()["final_ce"] == first.train()["final_ce"]


def test_checkpoint_after_the_last_task_gives_the_same_result(pack: Pack, store: Store, tmp_path: Path) -> None:
    config = {"pack": pack.to_config(), "run": {"store": str(store.root)}}
    first = LopTrainable(config)
    last = run(first)[-1]
    rows = pd.read_parquet(store.tasks)
    checkpoint = first.save(str(tmp_path / "c"))
    second = LopTrainable(config)
    second.restore(checkpoint)
    again = second.train()
    assert again["done"]
    assert {name: again[name] for name in (*measured_with(), "fresh_mean_ce")} == {
        name: last[name] for name in (*measured_with(), "fresh_mean_ce")
    }
    pd.testing.assert_frame_equal(pd.read_parquet(store.tasks), rows, check_exact=True)


def test_a_foreign_checkpoint_is_refused(pack: Pack, tmp_path: Path) -> None:
    first = LopTrainable({"pack": pack.to_config()})
    first.save_checkpoint(str(tmp_path))
    second = LopTrainable({"seed": 99})
    with pytest.raises(StateError, match="seed = 99: the checkpoint is of a cell with seed = "):
        second.load_checkpoint(str(tmp_path))


def test_population_based_training_cannot_change_a_sequence(small: CellConfig, tmp_path: Path) -> None:
    """PBT gives a trial another one's checkpoint and a new configuration. Only a longer sequence is allowed."""
    fields = small.model_dump()
    donor = LopTrainable(fields)
    expected = [donor.train() for _ in range(2)]
    donor.save_checkpoint(str(tmp_path))
    trial = LopTrainable({**fields, "seed": 99})
    assert trial.reset({**fields, "lr": 2 * small.lr})
    message = rf"lr = {2 * small.lr}: the checkpoint is of a cell with lr = {small.lr}, .* only .*tasks, .* may change"
    with pytest.raises(StateError, match=message):
        trial.load_checkpoint(str(tmp_path))
    assert trial.reset({**fields, "tasks": small.tasks + 2})
    trial.load_checkpoint(str(tmp_path))
    assert trial.train()["tasks_done"] == len(expected) + 1


def test_a_reused_actor_computes_what_a_new_one_does(pack: Pack, store: Store) -> None:
    config = {"pack": pack.to_config(), "run": {"store": str(store.root)}}
    run(LopTrainable(config))
    fresh = pd.read_parquet(store.tasks)
    used = LopTrainable({"seed": 5, "depth": 3, "tasks": 3, "width": 7, "fresh_baseline": 1})
    run(used)
    assert used.reset(config)
    run(used)
    pd.testing.assert_frame_equal(pd.read_parquet(store.tasks), fresh, check_exact=True)


def test_diverged_cells_are_recorded_and_left_out_of_the_means(small: CellConfig, store: Store) -> None:
    pack = Pack((small, small.replace(lr=1.7e308)))
    results = run(LopTrainable({"pack": pack.to_config(), "run": {"store": str(store.root)}}))
    alone = run(LopTrainable({"pack": Pack((small,)).to_config()}))
    assert [result["diverged"] for result in results] == [1] * 4
    assert [result["final_ce"] for result in results] == [result["final_ce"] for result in alone]
    cells = store.read_cells().to_pandas().set_index("cell")
    assert cells.loc[pack.cells[1].id, "status"] == "diverged"
    assert cells.loc[pack.cells[1].id, "diverged_at"] == 1
    tasks = pd.read_parquet(store.tasks)
    assert tasks[tasks["lr"] > 1]["final_ce"].isna().all()
    assert tasks[tasks["lr"] < 1]["final_ce"].notna().all()


def test_a_baseline_can_be_off(small: CellConfig) -> None:
    result = run(LopTrainable({**small.model_dump(), "fresh_baseline": 0}))[-1]
    assert result["done"]
    assert "fresh_mean_ce" not in result


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ({"dept": 3}, "unknown key 'dept'"),
        ({"run": {"dtype": "float16"}}, "dtype = 'float16'"),
        ({"run": {"tasks_per_report": 0}}, "tasks_per_report = 0: must be an integer of at least 1"),
        ({"run": {"dtyp": "float32"}}, "unknown key 'dtyp' in run; valid keys: dtype, device"),
        ({"dtype": "float32"}, "unknown key 'dtype'"),
        ({"trial": "{"}, "trial = '{': must be a JSON object"),
        ({"trial": 3}, "trial = 3: must be a JSON object"),
        ({"trial": "[]"}, r"trial = '\[\]': must be a JSON object"),
        ({"trial": "{}", "depth": 3}, "unknown key 'trial'"),
        ({"run": "fast"}, "run = 'fast': must be a dictionary"),
        ({"pack": [1]}, r"pack = \[1\]: must be a dictionary"),
        ({"pack": {"depth": 2}, "lr": 0.1}, "lr: cannot stand beside pack; put fields into it"),
        ({"pack": {"cells": [{"depth": 1}, {"depth": 2}]}}, "depth = 1, 2 in one pack"),
    ],
)
def test_bad_trial_configurations_are_refused(config: dict[str, object], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        LopTrainable(config)


def test_a_trial_requests_one_cpu() -> None:
    assert LopTrainable.default_resource_request({}).required_resources == {"CPU": 1}


def test_a_gpu_is_requested_only_for_cuda(pack: Pack) -> None:
    assert LopTrainable.default_resource_request({"pack": pack.to_config()}).required_resources == {"CPU": 1}
    on_gpu = LopTrainable.default_resource_request({"pack": pack.to_config(), "run": {"device": "cuda"}})
    item = WorkItem(pack)
    assert LopTrainable.default_resource_request({"trial": item.to_json(device="cuda")}) == on_gpu
    assert on_gpu.required_resources == {"CPU": 1, "GPU": 1}


def test_an_error_of_a_reset_is_raised_by_the_first_step(pack: Pack, store: Store) -> None:
    """Tune does not retry a trial whose reset fails."""
    trainable = LopTrainable({"pack": pack.to_config(), "run": {"store": str(store.root)}})
    trainable.step()
    assert trainable.reset_config({"pack": pack.to_config(), "run": {"dtype": "float16"}})
    assert trainable.reset_config({"pack": pack.to_config(), "run": {"dtype": "float16"}})  # nothing is left to save
    with pytest.raises(ConfigError, match="dtype = 'float16'"):
        trainable.step()
    assert [point.tasks_done for points in store.checkpoints.start_points().values() for point in points] == [1, 1]
    assert trainable.reset_config({"pack": pack.to_config(), "run": {"store": str(store.root)}})
    assert trainable.step()["tasks_done"] == 2
