"""The fixtures that all tests share. `tests/conftest.py` loads them after it has prepared the process."""

from __future__ import annotations

import os
import shutil
import subprocess
import uuid
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import settings
from object_server import environment, s3_server
from sweeping import compute_here, running_sweep, write_space

from lop_sweep import load_space, local_ray, runtime
from lop_sweep.config import CellConfig
from lop_sweep.ray_environment import prepare_environment
from lop_sweep.storage.filesystem import sweep_path

if TYPE_CHECKING:
    from playwright.sync_api import Browser

CHROMIUM_ARGUMENTS = [
    "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
    "--disable-component-update", "--disable-sync",
]  # fmt: skip

# CI runs the same examples every time, other runs new ones.
settings.register_profile("ci", derandomize=True)
if os.environ.get("CI"):
    settings.load_profile("ci")


@pytest.fixture(autouse=True, scope="session")
def one_thread() -> None:
    runtime.limit_threads()


@pytest.fixture
def small() -> CellConfig:
    """Return a cell that takes milliseconds."""
    return CellConfig(seed=1, width=8, depth=2, samples=12, steps=5, tasks=4, fresh_baseline=2, lr=0.1)


@pytest.fixture(scope="session")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """Return the space and directory of an undisturbed sweep: 16 cells in 8 packs, two of which diverge.

    It is computed in this process: `test_driver` compares that with a sweep on Ray.
    """
    folder = tmp_path_factory.mktemp("undisturbed")
    space = write_space(
        folder / "space.py", ["seed"],
        width=12, depth=2, samples=16, steps=40, tasks=60, fresh_baseline=8,
        lr="tune.grid_search([0.05, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 1.7e308])", seed="tune.grid_search([1, 5])",
    )  # fmt: skip
    compute_here(load_space(space).cells, folder / "out")
    return space, folder / "out"


@pytest.fixture(scope="module")
def own_ray() -> Iterator[None]:
    """Keep a Ray of two CPUs in this process: sweeps that run here (`sweep_here`) start none."""
    with local_ray(cpus=2):
        yield


@pytest.fixture
def started() -> Iterator[Callable[..., subprocess.Popen[str]]]:
    """Provide `start_sweep`; processes that are still running after the test are killed."""
    with ExitStack() as running:
        yield lambda *arguments, **options: running.enter_context(running_sweep(*arguments, **options))


@pytest.fixture(scope="session")
def s3() -> Iterator[str]:
    """Run an S3 server and return its address."""
    with s3_server() as endpoint:
        yield endpoint


@pytest.fixture
def bucket(s3: str, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return an empty place on an S3 server, which this process and those that it starts can use."""
    for name, value in environment(s3).items():
        monkeypatch.setenv(name, value)
    return sweep_path(f"s3://sweeps/{uuid.uuid4().hex[:12]}")


@pytest.fixture
def cluster() -> Iterator[Any]:
    """Provide a Ray cluster on this machine whose head computes nothing; tests add and kill nodes."""
    import ray
    from ray.cluster_utils import Cluster

    prepare_environment()
    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 0, "include_dashboard": False})
    try:
        yield cluster
    finally:
        ray.shutdown()
        cluster.shutdown()


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    """Return a Chromium, for the report and the documentation site."""
    from playwright.sync_api import sync_playwright

    found = os.environ.get("LOP_CHROMIUM") or shutil.which("chromium") or shutil.which("chromium-browser")
    assert found, "these tests need Chromium: install it, or name it in LOP_CHROMIUM"
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=found, args=CHROMIUM_ARGUMENTS)
        yield browser
        browser.close()
