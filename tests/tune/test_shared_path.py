"""A directory that is not shared by all nodes of a cluster is refused before anything is computed."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
import ray
from ray.cluster_utils import Cluster
from sweeping import sweep, wait_until

from lop_sweep.errors import StoreError, SweepError
from lop_sweep.storage.lock import hold_lock
from lop_sweep.storage.store import Store
from lop_sweep.tune.shared_path import check_shared, find_problem
from lop_sweep.tune.trainable import LopTrainable


def test_a_node_reports_what_it_sees(tmp_path: Path) -> None:
    store = Store(tmp_path / "out")
    store.create()
    with hold_lock(store.driver, dict) as lock:
        assert find_problem(str(store.driver), lock.token) == ""
        assert "has another directory there" in find_problem(str(store.driver), "another token")
        assert "has no such directory" in find_problem(str(tmp_path / "elsewhere"), lock.token)


def test_a_trial_that_sees_another_directory_is_refused(tmp_path: Path) -> None:
    """Nodes may join after the check at the start."""
    store = Store(tmp_path / "out")
    store.create()
    with hold_lock(store.driver, dict) as lock:
        LopTrainable({"tasks": 1, "run": {"store": str(store.root), "driver": lock.token}})
        for root, token in ((store.root, "another"), (tmp_path / "elsewhere", lock.token)):
            with pytest.raises(StoreError, match="does not see the sweep that this trial belongs to at"):
                LopTrainable({"tasks": 1, "run": {"store": str(root), "driver": token}})
    assert not (tmp_path / "elsewhere").exists()


def test_every_node_is_checked_and_one_must_have_a_cpu(tmp_path: Path, cluster: Cluster) -> None:
    store = Store(tmp_path / "out")
    store.create()
    ray.init(address=cluster.address, log_to_driver=False)
    with hold_lock(store.driver, dict) as lock:
        with pytest.raises(SweepError, match=r"the cluster has no node with a CPU; .* --cpus-expected N"):
            check_shared(store.driver, lock.token)
        check_shared(store.driver, lock.token, may_be_empty=True)
        for _ in range(2):
            cluster.add_node(num_cpus=1)
        check_shared(store.driver, lock.token)
        with pytest.raises(SweepError, match="is not shared by all nodes") as refused:
            check_shared(store.driver, "another token")
        assert str(refused.value).count("has another directory there") == 2


@pytest.mark.long
def test_a_node_with_a_disk_of_its_own_is_named(
    undisturbed: tuple[Path, Path], tmp_path: Path, cluster: Cluster
) -> None:
    """The node's mount namespace has an empty file system in place of the sweep directory."""
    cluster.add_node(num_cpus=1)
    (tmp_path / "results").mkdir()
    executable = str(Path(sys.executable).with_name("ray"))
    script = f"mount -t tmpfs none {tmp_path / 'results'} && exec {executable} start --address={cluster.address} --num-cpus=1 --block"  # noqa: E501
    node = subprocess.Popen(
        ["unshare", "--user", "--map-root-user", "--mount", "sh", "-c", script],
        env={**os.environ, "RAY_USAGE_STATS_ENABLED": "0"},
        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    try:
        ray.init(address=cluster.address, log_to_driver=False)
        wait_until(lambda: sum(n["Alive"] and bool(n["Resources"].get("CPU")) for n in ray.nodes()) == 2)
        result = sweep(undisturbed[0], tmp_path / "results" / "out", "--address", cluster.address, "--no-progress")
    finally:
        node.terminate()
        node.wait(timeout=60)
    assert result.returncode == 2
    assert "is not shared by all nodes" in result.stderr
    assert result.stderr.count("has no such directory") == 1
    assert not list((tmp_path / "results" / "out" / "cells").iterdir())
