"""A Ray cluster with Ray's own autoscaler on this machine, whose nodes are processes.

`ray.cluster_utils.AutoscalingCluster` is not used: it needs a file that Ray's wheels lack, and it stops every Ray of
the machine. The provider of nodes is the same.
"""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil

HEAD_ID = "f" * 51 + "00000"
"""The id by which the provider of nodes, which numbers its nodes, knows the head."""
LISTS = (
    "cluster_synced_files", "rsync_exclude", "rsync_filter", "initialization_commands", "setup_commands",
    "head_setup_commands", "worker_setup_commands", "head_start_ray_commands", "worker_start_ray_commands",
)  # fmt: skip
"""Settings of real clouds that Ray wants to be there."""
IDLE_SECONDS = 6
"""A node that has been idle for this long is removed."""


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextmanager
def autoscaling_cluster(folder: Path, max_workers: int) -> Iterator[str]:
    """Yield the address of a cluster: a head without CPUs, and up to `max_workers` nodes with one CPU each."""
    address = f"127.0.0.1:{free_port()}"
    memory = {"object_store_memory": 80_000_000}
    config = {
        "cluster_name": "here",
        "max_workers": max_workers,
        "idle_timeout_minutes": IDLE_SECONDS / 60,
        "provider": {
            "type": "external",
            "module": "ray.autoscaler._private.fake_multi_node.node_provider.FakeMultiNodeProvider",
            "gcs_address": address,
            "disable_node_updaters": True,
            "disable_launch_config_check": True,
            "launch_multiple": True,
            "head_node_id": HEAD_ID,
        },
        "auth": {},
        "docker": {},
        "file_mounts": {},
        **{name: [] for name in LISTS},
        "upscaling_speed": 1.0,
        "head_node_type": "ray.head.default",
        "available_node_types": {
            "ray.head.default": {"resources": memory, "node_config": {}, "max_workers": 0},
            "worker": {"resources": {"CPU": 1, **memory}, "node_config": {}, "max_workers": max_workers},
        },
    }
    (folder / "autoscaler.json").write_text(json.dumps(config))
    environment = {
        **os.environ,
        "RAY_FAKE_CLUSTER": "1",
        "RAY_enable_autoscaler_v2": "1",
        "RAY_CLOUD_INSTANCE_ID": HEAD_ID,
        "RAY_OVERRIDE_NODE_ID_FOR_TESTING": HEAD_ID,
        "RAY_USAGE_STATS_ENABLED": "0",
        "AUTOSCALER_UPDATE_INTERVAL_S": "1",
        "RAY_GRACEFUL_SHUTDOWN_DRAIN_TIMEOUT_S": "0",
        "RAY_gcs_rpc_server_reconnect_timeout_s": "5",
    }
    command = [
        str(Path(sys.executable).with_name("ray")), "start", "--block", "--head", "--node-ip-address=127.0.0.1",
        f"--port={address.rpartition(':')[2]}", f"--autoscaling-config={folder / 'autoscaler.json'}", "--num-cpus=0",
        "--include-dashboard=false", "--dashboard-agent-listen-port=0", "--min-worker-port=0", "--max-worker-port=0",
        f"--ray-client-server-port={free_port()}", f"--object-store-memory={memory['object_store_memory']}",
    ]  # fmt: skip
    with (folder / "head.log").open("w") as log:
        head = subprocess.Popen(command, env=environment, stdout=log, stderr=log, start_new_session=True)
    try:
        wait_for_port(address, head)
        yield address
    finally:
        family = [head.pid, *(child.pid for child in psutil.Process(head.pid).children(recursive=True))]
        for number in (signal.SIGTERM, signal.SIGKILL):
            for pid in family:
                if psutil.pid_exists(pid):
                    os.kill(pid, number)
            psutil.wait_procs([psutil.Process(pid) for pid in family if psutil.pid_exists(pid)], timeout=10)
        head.wait()


def wait_for_port(address: str, process: subprocess.Popen[bytes], seconds: float = 90) -> None:
    host, _, port = address.rpartition(":")
    deadline = time.monotonic() + seconds
    while True:
        try:
            socket.create_connection((host, int(port)), timeout=1).close()
            return
        except OSError:
            assert process.poll() is None, "the head node did not start"
            assert time.monotonic() < deadline, "the head node did not start in time"
            time.sleep(0.2)
