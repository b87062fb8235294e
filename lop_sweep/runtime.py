"""Fit a process to the machine it runs on, before NumPy is imported.

Three settings that change no result's meaning, only its speed:

- one BLAS thread: a trial has one CPU, and matrices of this size gain nothing from more; `limit_threads` holds to it
  whatever the environment says;
- OpenBLAS's AVX-512 kernels on x86-64 CPUs that have them: some versions take AMD's CPUs for a Haswell. The user's own
  `OPENBLAS_CORETYPE` is left as it is, and `LOP_SWEEP_AVX512=0` leaves the choice to OpenBLAS;
- glibc's allocator keeps freed memory: a step allocates and frees about a megabyte, and giving the pages back to the
  kernel each time costs as much as a third of a step.
"""

from __future__ import annotations

import ctypes
import os
import platform
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

_AVX512 = frozenset({"avx512f", "avx512dq", "avx512bw", "avx512vl", "avx512cd"})
_THREAD_VARIABLES = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")
AVX512_SWITCH = "LOP_SWEEP_AVX512"
"""Environment variable; "0" leaves OpenBLAS's kernels to OpenBLAS. A sweep's workers get it from its driver."""
_KEEP_BYTES = 256 * 2**20
_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD = -1, -3
_MMAP_THRESHOLD_BYTES = 32 * 2**20

SETUP_HOOK = "lop_sweep.runtime.prepare_process"
"""For Ray's `worker_process_setup_hook`, which runs in a worker before NumPy is imported, on the worker's own node."""


def blas_environment(cpu_flags: frozenset[str], environment: Mapping[str, str]) -> dict[str, str]:
    """The variables to set for a CPU with these flags; none that `environment` has already."""
    wanted = dict.fromkeys(_THREAD_VARIABLES, "1")
    if cpu_flags >= _AVX512 and environment.get(AVX512_SWITCH) != "0":
        wanted["OPENBLAS_CORETYPE"] = "SkylakeX"
    return {name: value for name, value in wanted.items() if name not in environment}


def cpu_flags() -> frozenset[str]:
    """The CPU's feature flags as Linux names them; empty on other systems and other architectures."""
    cpuinfo = Path("/proc/cpuinfo")
    if platform.machine() not in ("x86_64", "AMD64") or not cpuinfo.exists():
        return frozenset()
    for line in cpuinfo.read_text().splitlines():
        if line.startswith("flags"):
            return frozenset(line.partition(":")[2].split())
    return frozenset()


def prepare_process() -> None:
    """Make the settings above for this process. Those of BLAS have no effect once NumPy has been imported."""
    os.environ.update(blas_environment(cpu_flags(), os.environ))
    if sys.platform == "linux" and platform.libc_ver()[0] == "glibc":
        libc = ctypes.CDLL(None)
        libc.mallopt(_M_MMAP_THRESHOLD, _MMAP_THRESHOLD_BYTES)
        libc.mallopt(_M_TRIM_THRESHOLD, _KEEP_BYTES)


def limit_threads() -> None:
    """Hold every BLAS that is loaded, and PyTorch, to one thread, whatever the environment said.

    Results of a cell must not depend on how many threads happened to be set where it ran.
    """
    import threadpoolctl
    import torch

    threadpoolctl.threadpool_limits(limits=1)
    torch.set_num_threads(1)


def describe_numerics() -> dict[str, str]:
    """What this process computes with: host, CPU architecture, NumPy's BLAS with its kernels, and versions."""
    import importlib.metadata

    import numpy
    import threadpoolctl

    from lop_sweep.version import __version__

    return {
        "host": platform.node(),
        "machine": platform.machine(),
        "blas": _numpy_blas(threadpoolctl.threadpool_info()),
        "python_version": platform.python_version(),
        "numpy_version": numpy.__version__,
        "torch_version": importlib.metadata.version("torch"),
        "lop_sweep_version": __version__,
    }


def _numpy_blas(libraries: list[dict[str, Any]]) -> str:
    """The BLAS that NumPy brought along, for example "openblas 0.3.31 SkylakeX, 1 thread"."""
    own = [library for library in libraries if library["user_api"] == "blas" and "numpy" in library["filepath"]]
    for library in own or libraries:
        if library["user_api"] == "blas":
            kernels = library.get("architecture", "unknown kernels")
            return f"{library['internal_api']} {library['version']} {kernels}, {library['num_threads']} thread"
    return "unknown"
