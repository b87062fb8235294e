"""A Ray to run on: the environment that it needs, a local one of our own, or a cluster that is there.

A local Ray listens on all network interfaces, and whoever reaches it can execute code. `prepare_environment` therefore
gives our own Ray a random token, without which it answers nobody; Ray reads that setting when it is imported.
"""

from __future__ import annotations

import contextlib
import logging
import os
import secrets
import signal
import socket
import sys
import threading
from collections.abc import Callable, Iterator
from typing import Any

from lop_sweep import machine
from lop_sweep.errors import SweepError, one_line

_ENVIRONMENT = {
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_AIR_NEW_OUTPUT": "0",
    "TUNE_DISABLE_AUTO_CALLBACK_LOGGERS": "1",
    "TUNE_DISABLE_SIGINT_HANDLER": "1",
    "RAY_ENABLE_AUTO_CONNECT": "0",
}
"""No telemetry, our own output and handling of Ctrl-C, and the Parquet store in place of Tune's CSV, JSON and
TensorBoard files."""

_CONNECT_SECONDS = 10.0


def prepare_environment(address: str | None) -> None:
    """Set what Ray reads from the environment, except what the user has set; to be called before Ray is imported.

    Args:
        address: of the cluster to use; None for a local Ray, which then gets a token of its own.
    """
    for name, value in _ENVIRONMENT.items():
        os.environ.setdefault(name, value)
    if address is None and "RAY_AUTH_MODE" not in os.environ and "ray" not in sys.modules:
        os.environ["RAY_AUTH_MODE"] = "token"
        os.environ["RAY_AUTH_TOKEN"] = secrets.token_hex(32)


@contextlib.contextmanager
def ray_session(address: str | None, cpus: int | None) -> Iterator[None]:
    """A Ray for the length of a `with` block: one that this process has already, a cluster, or our own.

    Args:
        address: of the cluster; None for a local Ray.
        cpus: of the local Ray; None for all.

    Raises:
        SweepError: the cluster cannot be reached, or the local Ray cannot be started.
    """
    prepare_environment(address)
    import ray

    if ray.is_initialized():
        yield
        return
    where: dict[str, Any] = {"address": "local", "num_cpus": cpus, "include_dashboard": False}
    if address is not None:
        _check_reachable(address)
        where = {"address": address}
    on_sigterm = signal.getsignal(signal.SIGTERM)
    try:
        ray.init(
            **where,
            logging_level=logging.CRITICAL,  # Tune would print the traceback of each failed pack; it is in a file
            log_to_driver=False,
            runtime_env={
                "env_vars": {"RAY_CHDIR_TO_TRIAL_DIR": "0", **_passed_on()},
                "worker_process_setup_hook": machine.SETUP_HOOK,
            },
        )
    except (ConnectionError, ValueError, RuntimeError, ray.exceptions.RayError) as error:
        raise SweepError(f"no Ray at {address or 'this machine'}: {one_line(error)}") from error
    if threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGTERM, on_sigterm)  # Ray's own would exit with another status than the signal's
    try:
        yield
    finally:
        ray.shutdown()


def _passed_on() -> dict[str, str]:
    """What the driver's environment says to workers on other nodes too."""
    switch = os.environ.get(machine.AVX512_SWITCH)
    return {} if switch is None else {machine.AVX512_SWITCH: switch}


def slots(device: str) -> int:
    """How many trials can run at once on the Ray of this session, as it is now; 1 for a cluster that has yet to grow.

    Raises:
        SweepError: there is no GPU, and `device` asks for one.
    """
    import ray

    found = ray.cluster_resources()
    processors, gpus = (max(int(found.get(kind, 0)), 1) for kind in ("CPU", "GPU"))
    if device != "cuda":
        return processors
    if not found.get("GPU"):
        raise SweepError("device = 'cuda': Ray finds no GPU here; use cpu, or a cluster whose nodes have GPUs")
    return min(processors, gpus)


def ray_probe() -> Callable[[], bool]:
    """A function that says, from any thread, whether the Ray of this session is still there."""
    import ray

    # Asked for here and now: without a Ray, this question would start one.
    address = ray.get_runtime_context().gcs_address

    def answers() -> bool:
        try:
            _connect(address, seconds=1.0)
        except OSError:
            return False
        return True

    return answers


def _check_reachable(address: str) -> None:
    """Refuse an address that nobody listens at; Ray itself would try for minutes."""
    host, _, port = address.rpartition("://")[2].rpartition(":")
    if not host:  # "auto": Ray looks for a cluster on this machine and says at once if there is none
        return
    try:
        _connect(f"{host}:{port}", _CONNECT_SECONDS)
    except (OSError, ValueError, OverflowError) as error:
        raise SweepError(
            f"address {address!r} cannot be reached: {one_line(error)}; give HOST:PORT of the head node's Ray"
        ) from error


def _connect(address: str, seconds: float) -> None:
    host, _, port = address.rpartition(":")
    socket.create_connection((host.strip("[]"), int(port)), timeout=seconds).close()
