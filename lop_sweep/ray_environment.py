"""Set Ray's environment, and keep a local Ray private to this user and this machine.

Anyone who reaches a Ray can execute code in it. By default it listens on all network interfaces, without
authentication. Ray reads the settings for that once, when it is imported. `private_ray` therefore sets them through
Ray's internals, so that they hold whether or not Ray was imported before.
"""

from __future__ import annotations

import contextlib
import importlib
import logging
import os
import secrets
from collections.abc import Iterator, Mapping
from typing import Any

_ENVIRONMENT = {
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_ENABLE_AUTO_CONNECT": "0",
    "RAY_prestart_worker_first_driver": "0",
}
"""No telemetry, and no Ray that starts by itself. No workers in advance, one per CPU: they lack the environment of our
trials and would never be used."""
_OF_A_SWEEP = {
    "RAY_AIR_NEW_OUTPUT": "0",
    "TUNE_DISABLE_AUTO_CALLBACK_LOGGERS": "1",
    "TUNE_DISABLE_SIGINT_HANDLER": "1",
}
"""Our own output and handling of Ctrl-C, and no CSV, JSON and TensorBoard files of Tune's beside the Parquet store."""

_MODE, _TOKEN, _TOKEN_PATH = "RAY_AUTH_MODE", "RAY_AUTH_TOKEN", "RAY_AUTH_TOKEN_PATH"

_log = logging.getLogger(__name__)


def prepare_environment() -> None:
    """Set Ray's environment variables, except those that the user has set; call it before Ray is imported."""
    for name, value in _ENVIRONMENT.items():
        os.environ.setdefault(name, value)


@contextlib.contextmanager
def tune_of_a_sweep() -> Iterator[None]:
    """Set how Tune behaves in a sweep's own Tuner during a `with` block, except what the user has set."""
    settings = {name: value for name, value in _OF_A_SWEEP.items() if name not in os.environ}
    with _environment(settings), uncounted_callbacks():
        yield


@contextlib.contextmanager
def private_ray() -> Iterator[None]:
    """Make a Ray that is started within the `with` block require a random token and listen on loopback only.

    A user's own `RAY_AUTH_MODE` takes precedence, even "disabled". Afterwards everything is restored.
    """
    with contextlib.ExitStack() as stack:
        stack.enter_context(_on_loopback())
        stack.callback(_read_authentication_again)
        if not os.environ.get(_MODE):
            settings = {_MODE: "token", _TOKEN: secrets.token_hex(32), _TOKEN_PATH: None}
            stack.enter_context(_environment(settings))
        _read_authentication_again()
        yield


@contextlib.contextmanager
def uncounted_callbacks() -> Iterator[None]:
    """Keep `Tuner.fit` from importing every tracker that is installed, for seconds, within the `with` block.

    Ray Tune imports them to count callbacks for its telemetry, even where that is off. If it is on, nothing changes.
    """
    usage: Any = importlib.import_module("ray.air._internal.usage")
    before = usage.tag_callbacks
    if os.environ.get("RAY_USAGE_STATS_ENABLED") == "0":
        usage.tag_callbacks = lambda callbacks: False
    try:
        yield
    finally:
        usage.tag_callbacks = before


def warn_if_unprotected() -> None:
    """Warn, in one line, if the Ray that this process is connected to requires no token."""
    from ray._private.authentication.authentication_utils import is_token_auth_enabled

    if os.environ.get(_MODE) != "disabled" and not is_token_auth_enabled():
        _log.warning(
            "the Ray that is already initialised in this process has no token: anyone who reaches it can execute code "
            "as you; let lop-sweep start one, or set RAY_AUTH_MODE=token before ray is imported"
        )


@contextlib.contextmanager
def _environment(settings: Mapping[str, str | None]) -> Iterator[None]:
    """Set environment variables, and remove those whose value is None, during a `with` block."""
    before = {name: os.environ.get(name) for name in settings}
    _set_environment(settings)
    try:
        yield
    finally:
        _set_environment(before)


def _set_environment(settings: Mapping[str, str | None]) -> None:
    for name, value in settings.items():
        if value is None:
            os.environ.pop(name, None)
        else:
            os.environ[name] = value


def _read_authentication_again() -> None:
    """Make this process's Ray read its authentication settings again, which it read when it was imported."""
    raylet: Any = importlib.import_module("ray._raylet")
    raylet.AuthenticationTokenLoader.instance().reset_cache()
    raylet.Config.initialize("")


@contextlib.contextmanager
def _on_loopback() -> Iterator[None]:
    """Make Ray use loopback as this machine's address, so that its servers bind to it.

    Ray does this by itself on macOS and Windows, where it does not support clusters.
    """
    from ray._private import ray_constants

    before = ray_constants.ENABLE_RAY_CLUSTER
    ray_constants.ENABLE_RAY_CLUSTER = False
    try:
        yield
    finally:
        ray_constants.ENABLE_RAY_CLUSTER = before
