"""Anyone who reaches a Ray can execute code in it: ours accepts only its own token, on loopback only."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil
import pytest
from sweeping import COMMAND, wait_until, write_space

GUEST = """
import sys
from ray._raylet import GcsClient
from ray.exceptions import AuthenticationError
try:
    print("LET IN:", len(GcsClient(address=sys.argv[1]).get_all_node_info(timeout=20)))
except AuthenticationError:
    print("REFUSED")
"""
"""Another process that connects to the Ray at an address; without authentication it could also submit a job."""

SWEEP = "from lop_sweep import load_space, run_sweep\nrun_sweep(load_space(SPACE), OUT)\n"
IMPORTED = f"import ray\nfrom ray import tune\n{SWEEP}"
USED_BEFORE = f"import ray\nray.init(num_cpus=1, include_dashboard=False)\nray.shutdown()\n{SWEEP}"
OWN_TUNER = """
import ray
from ray import tune
from lop_sweep import LopTrainable, local_ray
with local_ray(cpus=1):
    tune.Tuner(LopTrainable, param_space={"tasks": 10**6, "width": 4, "depth": 1}).fit()
"""
NOTEBOOK = """
import nbformat
from nbclient import NotebookClient
cells = [nbformat.v4.new_code_cell(cell) for cell in CELLS]
NotebookClient(nbformat.v4.new_notebook(cells=cells), kernel_name="python3").execute()
"""
TOKEN_IN_ENVIRONMENT = """
from ray import tune
from lop_sweep import LopTrainable
tune.Tuner(LopTrainable, param_space={"tasks": 10**6, "width": 4, "depth": 1}).fit()
"""
UNPROTECTED = f"import ray\nray.init(num_cpus=1, include_dashboard=False)\n{SWEEP}"


def without_ray(**more: str) -> dict[str, str]:
    clean = {name: value for name, value in os.environ.items() if not name.startswith("RAY_")}
    return {**clean, "RAY_USAGE_STATS_ENABLED": "0", **more}


@pytest.fixture
def space(tmp_path: Path) -> Path:
    """Return a space that takes much longer than the test."""
    return write_space(tmp_path / "space.py", [], width=4, depth=1, samples=4, tasks=10**6)


@contextmanager
def host(command: list[str], folder: Path, **environment: str) -> Iterator[psutil.Process]:
    """Run a process that has a Ray during a `with` block."""
    log = (folder / "log").open("wb")
    process = subprocess.Popen(command, env=without_ray(**environment), stdout=log, stderr=log, cwd=folder)
    watched = psutil.Process(process.pid)
    try:
        yield watched
    finally:
        for child in [*watched.children(recursive=True), watched]:
            with_suppressed_kill(child)
        process.wait(timeout=60)
        log.close()


def with_suppressed_kill(process: psutil.Process) -> None:
    try:
        process.kill()
    except psutil.NoSuchProcess:  # it ended with its parent
        return


def servers(process: psutil.Process, folder: Path) -> dict[str, set[tuple[str, int]]]:
    """Return the addresses at which the processes of a host listen, by name, once its Ray has a worker."""
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline:
        found: dict[str, set[tuple[str, int]]] = {}
        assert process.is_running(), (folder / "log").read_text()
        assert process.status() != psutil.STATUS_ZOMBIE, (folder / "log").read_text()
        for child in [process, *process.children(recursive=True)]:
            try:
                listening = [c.laddr for c in child.net_connections("tcp") if c.status == psutil.CONN_LISTEN]
                found.setdefault(child.name(), set()).update((at.ip, at.port) for at in listening)
            except psutil.NoSuchProcess:
                continue
        if found.get("gcs_server") and any("Trainable" in name or "ray::" in name for name in found):
            return found
        time.sleep(0.2)
    raise AssertionError(f"no Ray: {(folder / 'log').read_text()}")


def let_in(address: str) -> list[str]:
    """Connect without a token, with a wrong one, and with authentication disabled; return who was accepted."""
    guests = {
        "no token": {},
        "disabled": {"RAY_AUTH_MODE": "disabled"},
        "wrong token": {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": "ab" * 32},
    }
    answers = {name: ask(address, **environment) for name, environment in guests.items()}
    return [name for name, answer in answers.items() if answer != "REFUSED"]


def ask(address: str, **environment: str) -> str:
    command = [sys.executable, "-c", GUEST, address]
    result = subprocess.run(command, env=without_ray(**environment), capture_output=True, text=True, timeout=60)
    assert result.returncode == 0, result.stderr
    return result.stdout.partition(":")[0].strip()


def is_loopback(ip: str) -> bool:
    return ip.removeprefix("::ffff:").startswith("127.") or ip == "::1"


def address_of(found: dict[str, set[tuple[str, int]]]) -> str:
    ((ip, port),) = found["gcs_server"]
    return f"{'127.0.0.1' if ip in ('::', '0.0.0.0') else ip.removeprefix('::ffff:')}:{port}"


def assert_private(process: psutil.Process, folder: Path) -> None:
    found = servers(process, folder)
    assert {ip for addresses in found.values() for ip, _ in addresses if not is_loopback(ip)} == set(), found
    assert let_in(address_of(found)) == []
    environments = [p.environ() for p in process.children(recursive=True) if p.name() == "gcs_server"]
    for child in process.children(recursive=True):  # the command blocks signals, but its Ray must not inherit that
        blocked = Path(f"/proc/{child.pid}/status").read_text().partition("SigBlk:\t")[2].split()[0]
        assert not int(blocked, 16) & (1 << (signal.SIGTERM - 1)), child
    token = environments[0]["RAY_AUTH_TOKEN"]
    assert len(token) == 64
    assert ask(address_of(found), RAY_AUTH_MODE="token", RAY_AUTH_TOKEN=token) == "LET IN"


def script(text: str, space: Path) -> list[str]:
    out = space.with_name("out")
    return [sys.executable, "-c", text.replace("SPACE", repr(str(space))).replace("OUT", repr(str(out)))]


@pytest.mark.long
def test_the_command_has_a_ray_of_its_own(space: Path, tmp_path: Path) -> None:
    with host([*COMMAND, "sweep", str(space), "--out", "out", "--cpus", "1"], tmp_path) as process:
        assert_private(process, tmp_path)


@pytest.mark.parametrize(
    "text",
    [
        IMPORTED,
        pytest.param(USED_BEFORE, marks=pytest.mark.long),
        pytest.param(SWEEP, marks=pytest.mark.long),
        pytest.param(OWN_TUNER, marks=pytest.mark.long),
    ],
    ids=["ray imported first", "ray used before", "plain script", "own Tuner"],
)
def test_a_script_has_a_private_ray(text: str, space: Path, tmp_path: Path) -> None:
    with host(script(text, space), tmp_path) as process:
        if text == USED_BEFORE:  # the first Ray is the script's own
            wait_until(lambda: list(tmp_path.glob("out/running/*.json")))
        assert_private(process, tmp_path)


@pytest.mark.long
def test_a_notebook_has_a_private_ray(space: Path, tmp_path: Path) -> None:
    cells = ["import ray", SWEEP.replace("SPACE", repr(str(space))).replace("OUT", repr(str(tmp_path / "out")))]
    with host([sys.executable, "-c", NOTEBOOK.replace("CELLS", repr(cells))], tmp_path) as process:
        assert_private(process, tmp_path)


@pytest.mark.long
def test_a_token_in_the_environment_protects_a_tuner(tmp_path: Path) -> None:
    """Two environment variables, set before Ray is imported."""
    environment = {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": "cd" * 32}
    with host([sys.executable, "-c", TOKEN_IN_ENVIRONMENT], tmp_path, **environment) as process:
        address = address_of(servers(process, tmp_path))
        assert let_in(address) == []
        assert ask(address, **environment) == "LET IN"


@pytest.mark.long
def test_an_unprotected_ray_is_used_with_one_warning(space: Path, tmp_path: Path) -> None:
    with host(script(UNPROTECTED, space), tmp_path) as process:
        assert "no token" in let_in(address_of(servers(process, tmp_path)))
        wait_until(lambda: list(tmp_path.glob("out/running/*.json")))
        warnings = [line for line in (tmp_path / "log").read_text().splitlines() if "has no token" in line]
    assert len(warnings) == 1
    assert "set RAY_AUTH_MODE=token before ray is imported" in warnings[0]


def test_private_ray_restores_everything() -> None:
    """The same process may use a cluster afterwards, with the user's settings."""
    code = """
import os
from lop_sweep import ray_environment
from ray._private import ray_constants
from ray._private.authentication.authentication_utils import is_token_auth_enabled
before = dict(os.environ)
with ray_environment.private_ray():
    assert is_token_auth_enabled()
    assert not ray_constants.ENABLE_RAY_CLUSTER
    assert len(os.environ["RAY_AUTH_TOKEN"]) == 64
assert dict(os.environ) == before
assert ray_constants.ENABLE_RAY_CLUSTER
assert not is_token_auth_enabled()
os.environ["RAY_AUTH_MODE"] = "disabled"
with ray_environment.private_ray():
    assert not is_token_auth_enabled()
"""
    result = subprocess.run([sys.executable, "-c", code], env=without_ray(), capture_output=True, text=True)
    assert result.returncode == 0, result.stderr


def test_importing_the_public_names_does_not_import_ray() -> None:
    names = "CellConfig, SearchSpace, Store, load_space, local_ray, run_sweep"
    code = f"import sys; from lop_sweep import {names}; print('ray' in sys.modules)"
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert result.stdout.strip() == "False"
