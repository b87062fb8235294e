"""The Ray to run on: the user's settings, addresses, and the number of slots."""

from __future__ import annotations

import os

import pytest
from ray.air._internal import usage

from lop_sweep.errors import SweepError
from lop_sweep.ray_environment import prepare_environment, tune_of_a_sweep, uncounted_callbacks
from lop_sweep.tune import session
from lop_sweep.tune.options import SweepOptions


def test_the_users_settings_take_precedence(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TUNE_DISABLE_AUTO_CALLBACK_LOGGERS", "0")
    monkeypatch.setenv("RAY_USAGE_STATS_ENABLED", "1")
    prepare_environment()
    with tune_of_a_sweep():
        assert os.environ["TUNE_DISABLE_AUTO_CALLBACK_LOGGERS"] == "0"
    assert os.environ["RAY_USAGE_STATS_ENABLED"] == "1"


def test_a_tuner_of_ones_own_keeps_tunes_loggers_and_output(monkeypatch: pytest.MonkeyPatch) -> None:
    names = ("TUNE_DISABLE_AUTO_CALLBACK_LOGGERS", "TUNE_DISABLE_SIGINT_HANDLER", "RAY_AIR_NEW_OUTPUT")
    for name in names:
        monkeypatch.delenv(name, raising=False)
    prepare_environment()
    assert not set(names) & set(os.environ)
    with tune_of_a_sweep():
        assert [os.environ[name] for name in names] == ["1", "1", "0"]
    assert not set(names) & set(os.environ)


@pytest.mark.parametrize("telemetry", ["0", "1"])
def test_callbacks_are_counted_for_telemetry_only(telemetry: str, monkeypatch: pytest.MonkeyPatch) -> None:
    counted: list[object] = []
    monkeypatch.setattr(usage, "_count_callbacks", lambda callbacks: counted.extend(callbacks))
    monkeypatch.setenv("RAY_USAGE_STATS_ENABLED", telemetry)
    with uncounted_callbacks():
        usage.tag_callbacks(["within"])
    usage.tag_callbacks(["afterwards"])
    assert counted == (["within", "afterwards"] if telemetry == "1" else ["afterwards"])


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


def test_packs_are_sized_for_the_cpus_that_will_join(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ray.cluster_resources", dict)
    assert session.slots("cpu", cpus_expected=64) == 64
    monkeypatch.setattr("ray.cluster_resources", lambda: {"CPU": 6.0, "GPU": 2.0})
    assert session.slots("cpu", cpus_expected=64) == 64
    assert session.slots("cpu", cpus_expected=4) == 6  # more are there already
    assert session.slots("cuda", cpus_expected=64) == 2


def test_expected_cpus_are_those_of_a_cluster() -> None:
    assert SweepOptions(address="head:6379", cpus_expected=8).cpus_expected == 8
    with pytest.raises(SweepError, match="cpus_expected = 8: is for a cluster; give its address, or cpus for a local"):
        SweepOptions(cpus_expected=8)
