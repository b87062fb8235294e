"""The local Ray of a sweep answers only to its own token."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from lop_sweep import ray_session
from lop_sweep.errors import SweepError

HOST = """
from lop_sweep.ray_session import prepare_environment, ray_session
prepare_environment(None)
with ray_session(None, 1):
    import ray
    print(ray.get_runtime_context().gcs_address, flush=True)
    input()
"""
GUEST = "import ray, sys; ray.init(address=sys.argv[1], logging_level=40); print('CONNECTED')"


def python(code: str, *arguments: str, **environment: str) -> subprocess.Popen[str]:
    clean = {name: value for name, value in os.environ.items() if not name.startswith("RAY_")}
    return subprocess.Popen(
        [sys.executable, "-c", code, *arguments], env={**clean, **environment}, text=True,
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
    )  # fmt: skip


def connects(address: str, seconds: float, **environment: str) -> bool:
    guest = python(GUEST, address, **environment)
    try:
        return "CONNECTED" in guest.communicate(timeout=seconds)[0]
    except subprocess.TimeoutExpired:  # it goes on trying
        guest.kill()
        guest.communicate()
        return False


def test_a_stranger_is_not_let_in() -> None:
    for environment, open_to_all in (({}, False), ({"RAY_AUTH_MODE": "disabled"}, True)):
        host = python(HOST, **environment)
        assert host.stdout is not None
        try:
            address = host.stdout.readline().strip()
            assert connects(address, seconds=40 if open_to_all else 12) == open_to_all
        finally:
            host.communicate("\n", timeout=60)


def test_the_users_own_settings_stand(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TUNE_DISABLE_AUTO_CALLBACK_LOGGERS", "0")
    monkeypatch.setenv("RAY_AUTH_MODE", "disabled")
    monkeypatch.delenv("RAY_AUTH_TOKEN", raising=False)
    ray_session.prepare_environment(None)
    assert os.environ["TUNE_DISABLE_AUTO_CALLBACK_LOGGERS"] == "0"
    assert os.environ["RAY_AUTH_MODE"] == "disabled"
    assert "RAY_AUTH_TOKEN" not in os.environ


@pytest.mark.parametrize("address", ["127.0.0.1:9", "ray://127.0.0.1:9", "127.0.0.1:x", "127.0.0.1:99999", "nowhere:1"])
def test_wrong_addresses_are_refused_at_once(address: str) -> None:
    with (
        pytest.raises(SweepError, match=r"cannot be reached: .*; give HOST:PORT"),
        ray_session.ray_session(address, None),
    ):
        pass


def test_trials_that_can_run_at_once_are_counted_and_a_missing_gpu_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ray.cluster_resources", lambda: {"CPU": 6.0})
    assert ray_session.slots("cpu") == 6
    with pytest.raises(SweepError, match="device = 'cuda': Ray finds no GPU here; use cpu, or a cluster"):
        ray_session.slots("cuda")
    monkeypatch.setattr("ray.cluster_resources", lambda: {"GPU": 8.0, "CPU": 3.0})
    assert ray_session.slots("cuda") == 3  # a trial takes a CPU too
    monkeypatch.setattr("ray.cluster_resources", lambda: {"GPU": 2.0, "CPU": 64.0})
    assert ray_session.slots("cuda") == 2
    monkeypatch.setattr("ray.cluster_resources", dict)
    assert ray_session.slots("cpu") == 1
