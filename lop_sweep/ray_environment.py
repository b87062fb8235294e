"""What Ray reads from its environment, and how a local Ray is kept to this user and this machine.

Whoever reaches a Ray can execute code in it, and by default it listens on all network interfaces and asks for nothing.
Ray reads the settings for that once, when it is imported. `private_ray` therefore puts them in place by way of Ray's
own internals, so that they hold whatever was imported before.
"""

from __future__ import annotations

import contextlib
import importlib
import logging
import os
import secrets
from collections.abc import Iterator
from typing import Any

_ENVIRONMENT = {
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_AIR_NEW_OUTPUT": "0",
    "TUNE_DISABLE_AUTO_CALLBACK_LOGGERS": "1",
    "TUNE_DISABLE_SIGINT_HANDLER": "1",
    "RAY_ENABLE_AUTO_CONNECT": "0",
}
"""No telemetry, our own output and handling of Ctrl-C, and the Parquet store in place of Tune's CSV, JSON and
TensorBoard files."""

_MODE, _TOKEN, _TOKEN_PATH = "RAY_AUTH_MODE", "RAY_AUTH_TOKEN", "RAY_AUTH_TOKEN_PATH"

_log = logging.getLogger(__name__)


def prepare_environment() -> None:
    """Set what Ray reads from the environment, except what the user has set; best called before Ray is imported."""
    for name, value in _ENVIRONMENT.items():
        os.environ.setdefault(name, value)


@contextlib.contextmanager
def private_ray() -> Iterator[None]:
    """Let a Ray that is started within the `with` block demand a random token, and listen on loopback only.

    A user's own `RAY_AUTH_MODE` stands, "disabled" included. Afterwards everything is as it was.
    """
    with contextlib.ExitStack() as stack:
        stack.enter_context(_on_loopback())
        stack.callback(_read_authentication_again)
        if not os.environ.get(_MODE):
            settings = {_MODE: "token", _TOKEN: secrets.token_hex(32), _TOKEN_PATH: None}
            stack.enter_context(_environment(settings))
        _read_authentication_again()
        yield


def warn_if_unprotected() -> None:
    """Warn, in one line, if the Ray that this process is connected to lets in whoever reaches it."""
    from ray._private.authentication.authentication_utils import is_token_auth_enabled

    if os.environ.get(_MODE) != "disabled" and not is_token_auth_enabled():
        _log.warning(
            "the Ray that is already initialised in this process has no token: whoever reaches it can execute code as "
            "you; leave it to lop-sweep to start one, or set RAY_AUTH_MODE=token before ray is imported"
        )


@contextlib.contextmanager
def _environment(settings: dict[str, str | None]) -> Iterator[None]:
    """Set environment variables, and remove those whose value is None, for the length of a `with` block."""
    before = {name: os.environ.get(name) for name in settings}
    _set_environment(settings)
    try:
        yield
    finally:
        _set_environment(before)


def _set_environment(settings: dict[str, str | None]) -> None:
    for name, value in settings.items():
        if value is None:
            os.environ.pop(name, None)
        else:
            os.environ[name] = value


def _read_authentication_again() -> None:
    """Let this process's Ray read its authentication settings again; it has read them when it was imported."""
    raylet: Any = importlib.import_module("ray._raylet")
    raylet.AuthenticationTokenLoader.instance().reset_cache()
    raylet.Config.initialize("")


@contextlib.contextmanager
def _on_loopback() -> Iterator[None]:
    """Let Ray take this machine's address to be that of loopback, to which its servers then bind.

    Ray does so by itself on macOS and Windows, where it supports no clusters.
    """
    from ray._private import ray_constants

    before = ray_constants.ENABLE_RAY_CLUSTER
    ray_constants.ENABLE_RAY_CLUSTER = False
    try:
        yield
    finally:
        ray_constants.ENABLE_RAY_CLUSTER = before
