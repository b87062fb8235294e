"""Whether the nodes of a cluster see the sweep directory that the driver sees."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from lop_sweep.errors import SweepError, comma_list, single_line
from lop_sweep.storage import host_name, read_lock

ANSWER_SECONDS = 60.0
"""How long a node may take to start a worker and look."""


def look(folder: str, token: str) -> str:
    """What a node sees of the driver's lease: "" if it is there, else what is wrong. Runs on the node.

    Args:
        folder: where the leases of the sweep directory are.
        token: of the driver's lease.
    """
    if not Path(folder).is_dir():
        return f"{host_name()} has no such directory"
    lock = read_lock(Path(folder))
    return "" if lock is not None and lock.token == token else f"{host_name()} has another directory there"


def check_shared(folder: Path, token: str) -> None:
    """See that every node that can run trials sees the sweep directory.

    Nodes that join later are checked by each trial's `setup`.

    Args:
        folder: where the leases of the sweep directory are.
        token: of the driver's lease.

    Raises:
        SweepError: one does not, or does not answer, or there is no node with a CPU.
    """
    import ray
    from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

    nodes = {n["NodeID"]: n["NodeManagerAddress"] for n in ray.nodes() if n["Alive"] and n["Resources"].get("CPU")}
    if not nodes:
        raise SweepError("the cluster has no node with a CPU; start one with `ray start --address=...`")
    task: Any = ray.remote(num_cpus=0, max_retries=0)(look)
    answers = {
        node: task.options(scheduling_strategy=NodeAffinitySchedulingStrategy(node, soft=False)).remote(
            str(folder), token
        )
        for node in nodes
    }
    complaints = []
    for node, answer in answers.items():
        try:
            complaint = ray.get(answer, timeout=ANSWER_SECONDS)
        except ray.exceptions.RayError as error:
            complaint = f"it gave no answer ({single_line(error)[:200]}); is lop-sweep installed there?"
        if complaint:
            complaints.append(f"node {nodes[node]}: {complaint}")
    if complaints:
        raise SweepError(
            f"{folder.parent} is not shared by all nodes: {comma_list(complaints)}; "
            "give a directory on a file system that every node has under this path"
        )
