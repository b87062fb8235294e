"""The Ray to run on: the user's settings, addresses, and the number of slots."""

from __future__ import annotations

import os

import pytest

from lop_sweep.errors import SweepError
from lop_sweep.ray_environment import prepare_environment
from lop_sweep.tune import session


def test_the_users_settings_take_precedence(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TUNE_DISABLE_AUTO_CALLBACK_LOGGERS", "0")
    prepare_environment()
    assert os.environ["TUNE_DISABLE_AUTO_CALLBACK_LOGGERS"] == "0"


@pytest.mark.parametrize("address", ["127.0.0.1:9", "ray://127.0.0.1:9", "127.0.0.1:x", "127.0.0.1:99999", "nowhere:1"])
def test_wrong_addresses_are_refused_at_once(address: str) -> None:
    with (
        pytest.raises(SweepError, match=r"cannot be reached: .*; give HOST:PORT"),
        session.ray_session(address, None),
    ):
        pass


def test_slots_are_counted_and_a_missing_gpu_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ray.cluster_resources", lambda: {"CPU": 6.0})
    assert session.slots("cpu") == 6
    with pytest.raises(SweepError, match="device = 'cuda': Ray finds no GPU here; use cpu, or a cluster"):
        session.slots("cuda")
    monkeypatch.setattr("ray.cluster_resources", lambda: {"GPU": 8.0, "CPU": 3.0})
    assert session.slots("cuda") == 3  # a trial needs a CPU, too
    monkeypatch.setattr("ray.cluster_resources", lambda: {"GPU": 2.0, "CPU": 64.0})
    assert session.slots("cuda") == 2
    monkeypatch.setattr("ray.cluster_resources", dict)
    assert session.slots("cpu") == 1
