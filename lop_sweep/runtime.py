"""Configure a process for numerical work, before NumPy is imported. Imports nothing large.

`prepare_process` makes three settings that change speed, not the meaning of a result:

- One BLAS thread. A trial has one CPU, and matrices of this size gain nothing from more. `limit_threads` enforces it
  whatever the environment says.
- OpenBLAS's AVX-512 kernels on x86-64 CPUs that have them: some versions mistake AMD's CPUs for a Haswell. The user's
  own `OPENBLAS_CORETYPE` takes precedence, and `LOP_SWEEP_AVX512=0` leaves the choice to OpenBLAS.
- glibc's allocator keeps freed memory. A step allocates and frees about a megabyte, and returning the pages to the
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
"""Environment variable; "0" lets OpenBLAS choose its own kernels. A sweep's workers inherit it from the driver."""
_TRIM_THRESHOLD_BYTES, _MMAP_THRESHOLD_BYTES = 256 * 2**20, 32 * 2**20
_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD = -1, -3
"""Parameters of `mallopt`."""

DEFAULT_CACHE_BYTES = 2**20
"""Second-level cache per core that is assumed where the system does not say."""
_MIN_CACHE_BYTES, _MAX_CACHE_BYTES = 2**16, 2**24
"""Range in which the system's answer is plausible. Virtual machines report 0, or what all cores share."""
_CACHES = Path("/sys/devices/system/cpu/cpu0/cache")

SETUP_HOOK = "lop_sweep.runtime.prepare_process"
"""For Ray's `worker_process_setup_hook`, which runs in a worker before NumPy is imported, on the worker's own node."""

DTYPES: tuple[str, ...] = ("float64", "float32")
"""Precisions of training: losses and gradients. Tasks are drawn, and saturation, ranks and duplicates computed, in
float64 in both cases."""

DEVICES: tuple[str, ...] = ("cpu", "cuda", "torch")
"""`cpu`: NumPy. `cuda`: PyTorch on a GPU. `torch`: the code of `cuda` on the CPU, slower than `cpu`, for tests."""


def blas_environment(cpu_flags: frozenset[str], environment: Mapping[str, str]) -> dict[str, str]:
    """Return the variables to set for a CPU with these flags, without those that `environment` has already."""
    wanted = dict.fromkeys(_THREAD_VARIABLES, "1")
    if cpu_flags >= _AVX512 and environment.get(AVX512_SWITCH) != "0":
        wanted["OPENBLAS_CORETYPE"] = "SkylakeX"
    return {name: value for name, value in wanted.items() if name not in environment}


def cpu_flags() -> frozenset[str]:
    """Return the CPU's feature flags as Linux names them; empty on other systems and architectures."""
    cpuinfo = Path("/proc/cpuinfo")
    if platform.machine() not in ("x86_64", "AMD64") or not cpuinfo.exists():
        return frozenset()
    for line in cpuinfo.read_text().splitlines():
        if line.startswith("flags"):
            return frozenset(line.partition(":")[2].split())
    return frozenset()


def cache_bytes(folder: Path = _CACHES) -> int:
    """Return the bytes of the second-level cache, as Linux or macOS report it.

    Args:
        folder: Linux's description of a core's caches.
    """
    for found in (_linux_cache_bytes(folder), _sysconf_cache_bytes(), _macos_cache_bytes()):
        if _MIN_CACHE_BYTES <= found <= _MAX_CACHE_BYTES:
            return found
    return DEFAULT_CACHE_BYTES


def _linux_cache_bytes(folder: Path) -> int:
    units = {"K": 2**10, "M": 2**20}
    for cache in sorted(folder.glob("index*")):
        try:
            level, kind, size = ((cache / name).read_text().strip() for name in ("level", "type", "size"))
            if level == "2" and kind != "Instruction":
                return int(size.rstrip("KM")) * units.get(size[-1:], 1)
        except (OSError, ValueError):
            continue
    return 0


def _sysconf_cache_bytes() -> int:
    try:
        return os.sysconf("SC_LEVEL2_CACHE_SIZE")
    except (AttributeError, ValueError, OSError):
        return 0


def _macos_cache_bytes() -> int:
    if sys.platform != "darwin":
        return 0
    value, size = ctypes.c_int64(0), ctypes.c_size_t(8)
    failed = ctypes.CDLL(None).sysctlbyname(b"hw.l2cachesize", ctypes.byref(value), ctypes.byref(size), None, 0)
    return 0 if failed else value.value


def prepare_process() -> None:
    """Make the settings above for this process. Those of BLAS have no effect once NumPy is imported."""
    os.environ.update(blas_environment(cpu_flags(), os.environ))
    if sys.platform == "linux" and platform.libc_ver()[0] == "glibc":
        libc = ctypes.CDLL(None)
        libc.mallopt(_M_MMAP_THRESHOLD, _MMAP_THRESHOLD_BYTES)
        libc.mallopt(_M_TRIM_THRESHOLD, _TRIM_THRESHOLD_BYTES)


def limit_threads() -> None:
    """Limit every loaded BLAS, and PyTorch, to one thread, whatever the environment says.

    A cell's results must not depend on the number of threads configured where it ran.
    """
    import threadpoolctl
    import torch

    threadpoolctl.threadpool_limits(limits=1)
    torch.set_num_threads(1)


def describe_numerics() -> dict[str, str]:
    """Describe what this process computes with: host, CPU architecture, NumPy's BLAS and its kernels, and versions."""
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
    """Return the BLAS that NumPy brought along, for example "openblas 0.3.31 SkylakeX, 1 thread"."""
    own = [library for library in libraries if library["user_api"] == "blas" and "numpy" in library["filepath"]]
    for library in own or libraries:
        if library["user_api"] == "blas":
            kernels = library.get("architecture", "unknown kernels")
            return f"{library['internal_api']} {library['version']} {kernels}, {library['num_threads']} thread"
    return "unknown"
