"""Provide a Ray to run on: a private local one, or an existing cluster."""

from __future__ import annotations

import contextlib
import logging
import os
import signal
import socket
import threading
from collections.abc import Callable, Iterator
from typing import Any

from lop_sweep import runtime
from lop_sweep.errors import SweepError, single_line
from lop_sweep.ray_environment import prepare_environment, private_ray, warn_if_unprotected
from lop_sweep.storage import local_path

_CONNECT_SECONDS = 10.0
"""Timeout for reaching a cluster's head node."""


@contextlib.contextmanager
def local_ray(cpus: int | None = None) -> Iterator[None]:
    """Provide a private Ray on this machine for a Tuner of your own, during a `with` block.

    It requires a random token and listens on loopback only. The Ray that `Tuner.fit()` starts by itself accepts anyone
    who can reach it. If Ray is initialised already, that one is used, with a warning if it has no token.

    Args:
        cpus: number of CPUs of this Ray; None for all.

    Raises:
        SweepError: Ray cannot be started.
    """
    with ray_session(None, cpus):
        yield


@contextlib.contextmanager
def ray_session(address: str | None, cpus: int | None) -> Iterator[None]:
    """Provide a Ray during a `with` block: the one that this process already has, a cluster, or a private local one.

    Args:
        address: the cluster's; None for a local Ray.
        cpus: number of CPUs of the local Ray; None for all.

    Raises:
        SweepError: the cluster cannot be reached, or the local Ray cannot be started.
        StoreError: the working directory does not exist, or its name is not UTF-8.
    """
    prepare_environment()
    local_path(".")  # Ray records the working directory
    import ray

    if ray.is_initialized():
        warn_if_unprotected()
        yield
        return
    where: dict[str, Any] = {"address": "local", "num_cpus": cpus, "include_dashboard": False}
    if address is not None:
        _check_reachable(address)
        where = {"address": address}
    with private_ray() if address is None else contextlib.nullcontext():
        try:
            with _sigterm_kept(), _quiet("ray._private.worker"):
                ray.init(
                    **where,
                    logging_level=logging.CRITICAL,  # Tune would print the traceback of each failed pack
                    log_to_driver=False,
                    runtime_env={
                        "env_vars": {"RAY_CHDIR_TO_TRIAL_DIR": "0", **inherited_environment()},
                        "worker_process_setup_hook": runtime.SETUP_HOOK,
                    },
                )
        except Exception as error:  # Ray raises plain Exception, too
            raise SweepError(f"no Ray at {address or 'this machine'}: {single_line(error)}") from error
        try:
            yield
        finally:
            ray.shutdown()


@contextlib.contextmanager
def _sigterm_kept() -> Iterator[None]:
    """Keep this process's handler for SIGTERM: Ray replaces it when it is started in the main thread."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.getsignal(signal.SIGTERM)
    try:
        yield
    finally:
        if before is not None:  # None: it was not set by Python, which cannot restore it
            signal.signal(signal.SIGTERM, before)


@contextlib.contextmanager
def _quiet(logger: str) -> Iterator[None]:
    """Silence a logger: Ray logs that it does not handle SIGTERM outside the main thread, as intended."""
    noisy = logging.getLogger(logger)
    before = noisy.level
    noisy.setLevel(logging.CRITICAL)
    try:
        yield
    finally:
        noisy.setLevel(before)


@contextlib.contextmanager
def ray_errors(what: str) -> Iterator[None]:
    """Turn an error of Ray, which may crash at any moment, into a SweepError of one line.

    Args:
        what: the beginning of the message: what failed.

    Raises:
        SweepError: Ray raised an error.
    """
    import ray

    try:
        yield
    except (ray.exceptions.RayError, RuntimeError, OSError) as error:
        raise SweepError(f"{what}: {single_line(error)}") from error


def inherited_environment() -> dict[str, str]:
    """Return the environment variables that workers on other nodes inherit from the driver."""
    switch = os.environ.get(runtime.AVX512_SWITCH)
    return {} if switch is None else {runtime.AVX512_SWITCH: switch}


def slots(device: str, cpus_expected: int | None = None) -> int:
    """Return how many trials can run at once on this process's Ray: now, or once the expected CPUs are there.

    Args:
        device: "cpu" or "cuda".
        cpus_expected: CPUs that the cluster will have at its largest; None for those that are there.

    Returns:
        At least 1, also for a cluster without nodes.

    Raises:
        SweepError: `device` is "cuda" and there is no GPU.
    """
    import ray

    found = ray.cluster_resources()
    processors, gpus = (max(int(found.get(kind, 0)), 1) for kind in ("CPU", "GPU"))
    processors = max(processors, cpus_expected or 1)
    if device != "cuda":
        return processors
    if not found.get("GPU"):
        raise SweepError("device = 'cuda': Ray finds no GPU here; use cpu, or a cluster whose nodes have GPUs")
    return min(processors, gpus)


def local_cpus() -> int:
    """Return how many CPUs a local Ray takes by default, without starting one: a container's, or the machine's."""
    from ray._private.utils import get_num_cpus

    return int(get_num_cpus(override_docker_cpu_warning=True))


def ray_probe() -> Callable[[], bool]:
    """Return a function that says, from any thread, whether this process's Ray still answers."""
    import ray

    # Read it now: once Ray is gone, this call would start a new one.
    address = ray.get_runtime_context().gcs_address

    def answers() -> bool:
        try:
            _connect(address, seconds=1.0)
        except OSError:
            return False
        return True

    return answers


def _check_reachable(address: str) -> None:
    """Refuse an address at which nothing listens; Ray itself would retry for minutes."""
    host, _, port = address.rpartition("://")[2].rpartition(":")
    if not host:  # "auto": Ray searches this machine and fails at once if there is no cluster
        return
    try:
        _connect(f"{host}:{port}", _CONNECT_SECONDS)
    except (OSError, ValueError, OverflowError) as error:
        raise SweepError(
            f"address {address!r} cannot be reached: {single_line(error)}; give HOST:PORT of the head node's Ray"
        ) from error


def _connect(address: str, seconds: float) -> None:
    host, _, port = address.rpartition(":")
    socket.create_connection((host.strip("[]"), int(port)), timeout=seconds).close()
