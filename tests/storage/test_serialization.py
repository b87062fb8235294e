"""States as files: exact, and unable to execute code when read."""

from __future__ import annotations

import pickle
from pathlib import Path

import numpy as np
import pytest

from lop_sweep.errors import StateError
from lop_sweep.storage.serialization import load_state, save_state


def test_states_survive_exactly(tmp_path: Path) -> None:
    state = {
        "arrays": [np.array([1.0, np.nan, 1e-320]), np.arange(4, dtype=np.uint8), np.empty((0, 3))],
        "stream": np.random.default_rng(1).bit_generator.state,
        "float": 0.1 + 0.2, "none": None, "text": "a", "flags": [True, False],
        "deep": {"x": [{"y": np.float32([2.5])}]},
    }  # fmt: skip
    save_state(tmp_path / "s.npz", state)
    loaded = load_state(tmp_path / "s.npz")
    assert loaded["stream"] == state["stream"]
    assert {key: loaded[key] for key in ("float", "none", "text", "flags")} == {
        "float": 0.1 + 0.2, "none": None, "text": "a", "flags": [True, False],
    }  # fmt: skip
    for ours, expected in zip(loaded["arrays"], state["arrays"], strict=True):
        np.testing.assert_array_equal(ours, expected)
        assert ours.dtype == expected.dtype
    assert loaded["deep"]["x"][0]["y"].dtype == np.float32


class Payload:
    def __reduce__(self) -> tuple[object, tuple[str]]:
        return (Path.touch, (Path("EXECUTED"),))


def test_a_pickle_in_a_state_is_never_executed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("plain.npz").write_bytes(pickle.dumps(Payload()))
    np.savez("hidden.npz", structure=np.array([Payload()], dtype=object), allow_pickle=True)
    for name in ("plain.npz", "hidden.npz"):
        with pytest.raises(StateError, match=name):
            load_state(Path(name))
    assert not Path("EXECUTED").exists()


def test_damaged_states_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "s.npz"
    save_state(path, {"a": np.arange(100)})
    whole = path.read_bytes()
    for content in (
        b"",
        whole[: len(whole) // 2],
        b"garbage" * 50,
        whole + b"x",
        b"\n".join([whole.partition(b"\n")[0]] * 3),
    ):
        path.write_bytes(content)
        with pytest.raises(StateError, match="is not a readable state"):
            load_state(path)
    with pytest.raises(StateError, match=r"missing\.npz"):
        load_state(tmp_path / "missing.npz")
