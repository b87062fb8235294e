"""Check that the nodes of a cluster see the sweep directory that the driver sees."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from lop_sweep.errors import StoreError, SweepError, comma_list, single_line
from lop_sweep.storage import host_name, is_local, read_lock, sweep_path

MAX_ANSWER_SECONDS = 60.0
"""Time for a node to start a worker and check the directory."""


def find_problem(folder: str, token: str) -> str:
    """Return "" if a node sees the driver's lock, else what is wrong. Runs on the node.

    Args:
        folder: the sweep directory's folder of driver locks.
        token: the fencing token of the driver's lock.
    """
    try:
        where = sweep_path(folder)
        lock = read_lock(where)
    except StoreError as error:
        return f"{host_name()} cannot read it: {error}"
    if lock is None:
        return f"{host_name()} has no such directory"
    return "" if lock.token == token else f"{host_name()} has another directory there"


def check_shared(folder: Path, token: str, may_be_empty: bool = False) -> None:
    """Check that every node that can run trials sees the sweep directory.

    The `setup` of each trial checks nodes that join later.

    Args:
        folder: the sweep directory's folder of driver locks.
        token: the fencing token of the driver's lock.
        may_be_empty: whether nodes with CPUs may all join later.

    Raises:
        SweepError: a node does not see it or does not answer, or there is no node with a CPU.
    """
    import ray
    from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

    nodes = {n["NodeID"]: n["NodeManagerAddress"] for n in ray.nodes() if n["Alive"] and n["Resources"].get("CPU")}
    if not nodes and not may_be_empty:
        raise SweepError(
            "the cluster has no node with a CPU; start one with `ray start --address=...`, "
            "or say with --cpus-expected N how many CPUs will join"
        )
    task: Any = ray.remote(num_cpus=0, max_retries=0)(find_problem)
    answers = {
        node: task.options(scheduling_strategy=NodeAffinitySchedulingStrategy(node, soft=False)).remote(
            str(folder), token
        )
        for node in nodes
    }
    problems = []
    for node, answer in answers.items():
        try:
            problem = ray.get(answer, timeout=MAX_ANSWER_SECONDS)
        except ray.exceptions.RayError as error:
            problem = f"it gave no answer ({single_line(error)[:200]}); is lop-sweep installed there?"
        if problem:
            problems.append(f"node {nodes[node]}: {problem}")
    if problems:
        raise SweepError(
            f"{folder.parent} is not shared by all nodes: {comma_list(problems)}; "
            + (
                "give a directory on a file system that every node has under this path, or a bucket: --out s3://..."
                if is_local(folder)
                else "every node needs the package obstore, and access to the bucket"
            )
        )
