"""Components of a user's own on Ray: sent to the nodes of a cluster, resumed after crashes, the same to the bit."""

from __future__ import annotations

import os
import random
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from disturbing import disturb_and_finish, lose_a_node
from own_space import own_space, space_with_neighbours
from ray.cluster_utils import Cluster
from sweeping import compute_here, sweep

from lop_sweep import load_space
from lop_sweep.errors import SweepError
from lop_sweep.registry import isolated
from lop_sweep.storage.filesystem import FAULTS
from lop_sweep.storage.maintenance.audit import audit
from lop_sweep.storage.store import Store
from lop_sweep.tune import LopTrainable

MODULE = '''
"""A module with an activation of its own, which every node imports."""

from torch import nn

from lop_sweep import register
from lop_sweep.array_api import array_namespace
from lop_sweep.components import BaseActivation


@register("activation", "module_relu", version="1")
class ModuleRelu(BaseActivation):
    """max(z, z / 5)."""

    def value(self, z):
        return array_namespace(z).where(z > 0, z, 0.2 * z)

    def backward(self, error, z, a):
        return array_namespace(z).where(z > 0, error, 0.2 * error)

    def torch(self):
        return nn.LeakyReLU(0.2)
'''
OPTIONS = ("--no-progress", "--max-failures", "4", "--checkpoint-every")


@pytest.fixture(autouse=True)
def apart() -> Iterator[None]:
    with isolated():
        yield


def with_module(space: Path, folder: Path, monkeypatch: pytest.MonkeyPatch, text: str = MODULE) -> None:
    """Let a space use an activation of a module, which processes that are started from now on can import."""
    folder.mkdir()
    (folder / "own_module.py").write_text(text)
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(folder), os.environ.get("PYTHONPATH", "")]))
    monkeypatch.syspath_prepend(folder)
    content = space.read_text().replace('["tanh", "own_relu"]', '["module_relu", "own_relu"]')
    space.write_text("import own_module\n" + content)


def computed_here(space: Path, out: Path) -> Path:
    """Compute a space in this process, one pack after the other."""
    with isolated():
        compute_here(load_space(space).cells, out)
    return out


def rows(out: Path, folder: str) -> pd.DataFrame:
    frame = pd.read_parquet(out / folder).drop(columns=["seconds"], errors="ignore")
    for name in frame.columns:
        if isinstance(frame[name].iloc[0], np.ndarray):
            frame[name] = [values.tobytes() for values in frame[name]]
    return frame.sort_values(["cell", "task"] if folder == "tasks" else ["cell"], ignore_index=True)


def assert_same_bits(out: Path, expected: Path) -> None:
    for folder in ("tasks", "cells"):
        pd.testing.assert_frame_equal(rows(out, folder), rows(expected, folder), check_exact=True)
    assert not audit(Store(out)).findings


def test_components_reach_the_nodes_of_a_cluster(
    tmp_path: Path, cluster: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Those of the file and those of a module. A worker is killed after a checkpoint, and another one continues it."""
    space = own_space(tmp_path / "own.py")
    with_module(space, tmp_path / "modules", monkeypatch)
    (tmp_path / "tickets").mkdir()
    (tmp_path / "tickets" / "running.renamed").touch()
    with monkeypatch.context() as nodes:
        nodes.setenv(FAULTS, str(tmp_path / "tickets"))
        for _ in range(2):
            cluster.add_node(num_cpus=1)
    result = sweep(space, tmp_path / "out", *OPTIONS, "0", "--address", cluster.address)
    assert result.returncode == 0, result.stderr
    assert list((tmp_path / "tickets").iterdir()) == []
    assert "retrying from its checkpoint" in result.stderr
    assert_same_bits(tmp_path / "out", computed_here(space, tmp_path / "expected"))


def test_components_of_a_neighbouring_module_reach_the_workers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Workers cannot import the module: they get what the class uses of it by value."""
    space = space_with_neighbours(tmp_path / "spaces", 0.25)
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    result = sweep(space, tmp_path / "out", "--no-progress", "--max-failures", "0", "--cpus", "1")
    assert result.returncode == 0, result.stderr
    assert_same_bits(tmp_path / "out", computed_here(space, tmp_path / "expected"))


def test_sending_components_needs_a_ray(tmp_path: Path) -> None:
    cell = load_space(own_space(tmp_path / "own.py")).cells[0]
    with pytest.raises(SweepError, match="which is not initialised; do this within local_ray"):
        LopTrainable.with_components([cell.own_components])
    assert LopTrainable.with_components([""]) is LopTrainable


@pytest.mark.long
@pytest.mark.parametrize("seed", range(3))
def test_crashes_of_nodes_drivers_and_workers_change_nothing(tmp_path: Path, cluster: Cluster, seed: int) -> None:
    rng = random.Random(seed)
    space = own_space(tmp_path / "own.py", steps=40, tasks=200)
    expected = computed_here(space, tmp_path / "expected")
    lose_a_node(cluster, space, tmp_path / "cluster", rng.uniform(0, 3))
    assert_same_bits(tmp_path / "cluster", expected)
    disturb_and_finish(space, tmp_path / "local", rng, ["driver", "worker", "driver"])
    assert_same_bits(tmp_path / "local", expected)


@pytest.mark.long
def test_parts_of_a_sweep_and_more_tasks_give_the_same_bits(tmp_path: Path) -> None:
    """States that were kept are continued, with the memory of the optimizer and the stream."""
    space = own_space(tmp_path / "own.py", tasks=4)
    for part in ("1/2", "2/2"):
        result = sweep(space, tmp_path / "out", *OPTIONS, "60", "--shard", part, "--cpus", "1")
        assert result.returncode == 0, result.stderr
    longer = own_space(tmp_path / "own.py", tasks=8)
    assert sweep(longer, tmp_path / "out", *OPTIONS, "60").returncode == 0
    expected = computed_here(longer, tmp_path / "expected")
    ours, theirs = rows(tmp_path / "out", "tasks"), rows(expected, "tasks")
    ours = ours[ours["tasks"] == 8].reset_index(drop=True)
    pd.testing.assert_frame_equal(ours, theirs, check_exact=True)


@pytest.mark.long
@pytest.mark.parametrize("there", ["no module", "another version"])
def test_a_node_without_the_module_is_named(
    tmp_path: Path, cluster: Cluster, monkeypatch: pytest.MonkeyPatch, there: str
) -> None:
    space = own_space(tmp_path / "own.py", tasks=2)
    if there == "another version":
        with monkeypatch.context() as nodes:
            with_module(own_space(tmp_path / "other.py"), tmp_path / "others", nodes, MODULE.replace("0.2", "0.3"))
            cluster.add_node(num_cpus=1)
    else:
        cluster.add_node(num_cpus=1)
    with_module(space, tmp_path / "modules", monkeypatch)
    result = sweep(
        space, tmp_path / "out", "--no-progress", "--max-failures", "0", "--address", cluster.address
    )  # fmt: skip
    assert result.returncode == 1
    message = {
        "no module": "No module named 'own_module'",
        "another version": "install the same module own_module everywhere",
    }
    assert message[there] in result.stderr
    assert not list((tmp_path / "out" / "cells").iterdir())
