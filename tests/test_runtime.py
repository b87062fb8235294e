"""Configuring a process: what is set, and which of the user's settings take precedence."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from lop_sweep import runtime
from lop_sweep.tune import session

AVX512 = frozenset({"fpu", "avx512f", "avx512dq", "avx512bw", "avx512vl", "avx512cd"})
THREADS = {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}


def test_avx512_kernels_only_with_all_the_flags_they_need() -> None:
    assert runtime.blas_environment(AVX512, {}) == {**THREADS, "OPENBLAS_CORETYPE": "SkylakeX"}
    for flag in AVX512 - {"fpu"}:
        assert runtime.blas_environment(AVX512 - {flag}, {}) == THREADS
    assert runtime.blas_environment(frozenset(), {}) == THREADS


def test_the_users_setting_takes_precedence() -> None:
    assert "OPENBLAS_CORETYPE" not in runtime.blas_environment(AVX512, {"OPENBLAS_CORETYPE": "Haswell"})
    assert runtime.blas_environment(AVX512, {"OMP_NUM_THREADS": "4"})["OPENBLAS_NUM_THREADS"] == "1"


def test_the_choice_can_be_turned_off_here_and_on_the_workers(monkeypatch: pytest.MonkeyPatch) -> None:
    assert runtime.blas_environment(AVX512, {runtime.AVX512_SWITCH: "0"}) == THREADS
    assert runtime.blas_environment(AVX512, {runtime.AVX512_SWITCH: "1"}) == runtime.blas_environment(AVX512, {})
    monkeypatch.delenv(runtime.AVX512_SWITCH, raising=False)
    assert session.inherited_environment() == {}  # a node's own setting takes precedence
    monkeypatch.setenv(runtime.AVX512_SWITCH, "0")
    assert session.inherited_environment() == {runtime.AVX512_SWITCH: "0"}


def kernels(**environment: str) -> str:
    code = "from lop_sweep import runtime; runtime.prepare_process(); print(runtime.describe_numerics()['blas'])"
    clean = {name: value for name, value in os.environ.items() if name not in (*THREADS, "OPENBLAS_CORETYPE")}
    result = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, env=clean | environment
    )
    return result.stdout


def test_numpy_uses_what_was_chosen() -> None:
    blas = kernels()
    assert "1 thread" in blas
    if not blas.startswith("openblas"):
        return  # another BLAS chooses its own kernels
    if runtime.cpu_flags() >= AVX512 - {"fpu"}:
        assert "SkylakeX" in blas
        assert "Haswell" in kernels(OPENBLAS_CORETYPE="Haswell")


def test_threads_are_limited_in_any_environment() -> None:
    import threadpoolctl
    import torch

    with threadpoolctl.threadpool_limits(2):
        runtime.limit_threads()
        assert {library["num_threads"] for library in threadpoolctl.threadpool_info()} == {1}
    runtime.limit_threads()
    assert torch.get_num_threads() == 1


@pytest.mark.parametrize(
    "key", ["host", "blas", "python_version", "numpy_version", "torch_version", "lop_sweep_version"]
)
def test_numerics_are_described(key: str) -> None:
    assert runtime.describe_numerics()[key]


def write_cache(folder: Path, index: int, level: str, kind: str, size: str) -> None:
    (folder / f"index{index}").mkdir(parents=True)
    for name, text in (("level", level), ("type", kind), ("size", size)):
        (folder / f"index{index}" / name).write_text(text + "\n")


@pytest.mark.parametrize(("size", "expected"), [("512K", 2**19), ("2M", 2**21), ("1048576", 2**20)])
def test_the_second_level_cache_is_that_of_the_system(size: str, expected: int, tmp_path: Path) -> None:
    write_cache(tmp_path, 0, "1", "Data", "48K")
    write_cache(tmp_path, 2, "2", "Unified", size)
    write_cache(tmp_path, 3, "3", "Unified", "32M")
    assert runtime.cache_bytes(tmp_path) == expected


@pytest.mark.parametrize("size", ["", "0K", "many", "128M"])
def test_an_implausible_cache_is_replaced_by_the_default(
    size: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "sysconf", lambda name: 0)
    monkeypatch.setattr(sys, "platform", "linux")
    assert runtime.cache_bytes(tmp_path / "none") == runtime.DEFAULT_CACHE_BYTES
    write_cache(tmp_path, 2, "2", "Unified", size)
    assert runtime.cache_bytes(tmp_path) == runtime.DEFAULT_CACHE_BYTES
