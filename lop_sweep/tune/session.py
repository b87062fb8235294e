"""A Ray to run on: a local one of our own, which is kept private, or a cluster that is there."""

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


@contextlib.contextmanager
def local_ray(cpus: int | None = None) -> Iterator[None]:
    """Start a Ray on this machine for a Tuner of your own, for the length of a `with` block.

    It demands a random token and listens on loopback only, whereas the Ray that `Tuner.fit()` starts by itself lets in
    whoever reaches it. Where Ray is initialised already, that one is used, with a warning if it has no token.

    Args:
        cpus: CPUs of this Ray; None for all.

    Raises:
        SweepError: Ray cannot be started.
    """
    with ray_session(None, cpus):
        yield


@contextlib.contextmanager
def ray_session(address: str | None, cpus: int | None) -> Iterator[None]:
    """Provide a Ray for the length of a `with` block: the one that this process has already, a cluster, or our own.

    Args:
        address: of the cluster; None for a local Ray.
        cpus: of the local Ray; None for all.

    Raises:
        SweepError: the cluster cannot be reached, or the local Ray cannot be started.
        StoreError: the working directory is gone, or its name is not UTF-8.
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
                    logging_level=logging.CRITICAL,  # Tune would print each failed pack's traceback; it is in a file
                    log_to_driver=False,
                    runtime_env={
                        "env_vars": {"RAY_CHDIR_TO_TRIAL_DIR": "0", **_passed_on()},
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
    """Keep this process's handler for SIGTERM; Ray puts its own in place when it is started in the main thread."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.getsignal(signal.SIGTERM)
    try:
        yield
    finally:
        if before is not None:  # else it was not set by Python, which cannot put it back
            signal.signal(signal.SIGTERM, before)


@contextlib.contextmanager
def _quiet(logger: str) -> Iterator[None]:
    """Silence a logger: Ray remarks that it leaves SIGTERM alone in other threads, as intended."""
    chatty = logging.getLogger(logger)
    before = chatty.level
    chatty.setLevel(logging.CRITICAL)
    try:
        yield
    finally:
        chatty.setLevel(before)


@contextlib.contextmanager
def ray_errors(what: str) -> Iterator[None]:
    """Turn an error of Ray's, which may end at any moment, into a SweepError of one line.

    Args:
        what: what is being done, for the message.

    Raises:
        SweepError: Ray raised an error.
    """
    import ray

    try:
        yield
    except (ray.exceptions.RayError, RuntimeError, OSError) as error:
        raise SweepError(f"{what}: {single_line(error)}") from error


def _passed_on() -> dict[str, str]:
    """What the driver's environment says to workers on other nodes too."""
    switch = os.environ.get(runtime.AVX512_SWITCH)
    return {} if switch is None else {runtime.AVX512_SWITCH: switch}


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
            f"address {address!r} cannot be reached: {single_line(error)}; give HOST:PORT of the head node's Ray"
        ) from error


def _connect(address: str, seconds: float) -> None:
    host, _, port = address.rpartition(":")
    socket.create_connection((host.strip("[]"), int(port)), timeout=seconds).close()
