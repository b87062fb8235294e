"""Every command of the README is run: those of lop-sweep here, in order; `make demo` and `make test` by `.ci/run`."""

from __future__ import annotations

import os
import re
import shlex
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pandas as pd
import pytest

ROOT = Path(__file__).parents[1]
TEXT = (ROOT / "README.md").read_text()
OURS = ("lop-sweep", "lop-analysis")


def blocks(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", TEXT, flags=re.DOTALL)


COMMANDS = [line for block in blocks("sh") for line in block.strip().splitlines()]
LOCAL = [command for command in COMMANDS if command.startswith(OURS) and "/shared/" not in command]
CLUSTER = [command for command in COMMANDS if command.startswith((*OURS, "ray start")) and command not in LOCAL]


def in_folder(command: str, folder: Path) -> subprocess.CompletedProcess[str]:
    arguments = shlex.split(command)
    module = {"lop-sweep": "lop_sweep", "lop-analysis": "analysis"}[arguments[0]]
    return subprocess.run(
        [sys.executable, "-m", module, *arguments[1:]], cwd=folder, capture_output=True, text=True, timeout=300
    )


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("readme")
    (folder / "my_space.py").write_text(blocks("python")[0])
    return folder


def test_every_command_is_accounted_for() -> None:
    assert len(LOCAL) == 10
    assert len(CLUSTER) == 4
    assert [command for command in COMMANDS if command not in (*LOCAL, *CLUSTER)] == ["make demo", "make test"]
    ci = (ROOT / ".ci" / "run").read_text()
    assert "make demo" in ci
    assert "make test" in ci


def test_the_commands_work_in_their_order(folder: Path) -> None:
    for command in LOCAL:
        result = in_folder(command, folder)
        assert result.returncode == 0, f"{command}\n{result.stderr}"
    for name in ("report.html", "map.png", "causes.png", "curves.png", "scores.csv", "one/summary.json"):
        assert (folder / name).stat().st_size > 500
    snippet = subprocess.run([sys.executable, "-c", blocks("python")[1]], cwd=folder, capture_output=True, text=True)
    assert snippet.returncode == 0, snippet.stderr
    assert "0.9" in snippet.stdout
    tuner = subprocess.run([sys.executable, "-c", blocks("python")[2]], cwd=folder, capture_output=True, text=True)
    assert tuner.returncode == 0, tuner.stderr


@contextmanager
def running(command: str) -> Iterator[None]:
    """A command that runs until it is told to stop, here by its own process id."""
    environment = {**os.environ, "RAY_USAGE_STATS_ENABLED": "0"}
    executable = str(Path(sys.executable).with_name("ray"))
    process = subprocess.Popen(
        [executable, *shlex.split(command)[1:]], env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    try:
        yield
        assert process.poll() is None, f"{command} ended by itself"
    finally:
        process.terminate()
        process.wait(timeout=60)


def test_the_cluster_commands_work(folder: Path) -> None:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    commands = [c.replace("HEAD:6379", f"127.0.0.1:{port}").replace("--port=6379", f"--port={port}") for c in CLUSTER]
    head, node, *ours = (command.replace("/shared/results", str(folder / "shared")) for command in commands)
    (folder / "my_space.py").write_text(blocks("python")[0].replace("[0, 1, 2]", "[0]"))
    with running(head):
        wait_for(port)
        with running(node):
            for command in ours:
                result = in_folder(command, folder)
                assert result.returncode == 0, f"{command}\n{result.stderr}"
    assert len(pd.read_parquet(folder / "shared" / "cells")) == 9


def wait_for(port: int) -> None:
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        try:
            socket.create_connection(("127.0.0.1", port), timeout=1).close()
            time.sleep(3)  # the head's other services
            return
        except OSError:
            time.sleep(0.2)
    raise TimeoutError(f"no head node at port {port}")
