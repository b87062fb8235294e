"""Helpers for tests of whole sweeps: write search spaces, run the command, compare results to the last bit."""

from __future__ import annotations

import io
import json
import logging
import os
import shlex
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from lop_sweep.cli import main
from lop_sweep.config import CellConfig
from lop_sweep.metrics import LAYERED
from lop_sweep.planning.packing import Sizing
from lop_sweep.planning.plan import make_plan
from lop_sweep.planning.space import SearchSpace
from lop_sweep.storage.filesystem import FAULTS
from lop_sweep.storage.lock import hold_lock
from lop_sweep.storage.manifest import describe_space
from lop_sweep.storage.store import Store
from lop_sweep.tune.worker import PackRun

COMMAND = [sys.executable, "-m", "lop_sweep"]
LISTS = (*LAYERED, "fresh_ce")

Start = Callable[..., subprocess.Popen[str]]
"""The type of the fixture `started`: arguments as those of `start_sweep`."""


def write_space(path: Path, pack: list[str], **fields: object) -> Path:
    lines = [f"    {name!r}: {value if isinstance(value, str) else repr(value)}," for name, value in fields.items()]
    path.write_text("\n".join(["from ray import tune", "param_space = {", *lines, "}", f"pack = {pack!r}"]) + "\n")
    return path


def run_cli(*arguments: object, env: dict[str, str] | None = None) -> subprocess.CompletedProcess[str]:
    command = [*COMMAND, *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, timeout=300, env=env)


def sweep(space: Path, out: Path, *options: str, env: dict[str, str] | None = None) -> subprocess.CompletedProcess[str]:
    return run_cli("sweep", space, "--out", out, *options, env=env)


def run_here(*arguments: object, command: Callable[[Sequence[str]], int] = main) -> subprocess.CompletedProcess[str]:
    """Run the command in this process, and on its Ray if it has one, so that nothing has to be started."""
    out, err, root = io.StringIO(), io.StringIO(), logging.getLogger()
    handler, level = logging.StreamHandler(err), root.level
    root.addHandler(handler)
    root.setLevel(logging.INFO)
    try:
        with redirect_stdout(out), redirect_stderr(err):
            status = command([*map(str, arguments)])
    finally:
        root.removeHandler(handler)
        root.setLevel(level)
    return subprocess.CompletedProcess([*map(str, arguments)], status, out.getvalue(), err.getvalue())


def sweep_here(space: Path, out: Path, *options: str) -> subprocess.CompletedProcess[str]:
    return run_here("sweep", space, "--out", out, *options)


def start_sweep(
    space: Path, out: Path, *options: str, env: dict[str, str] | None = None, within: Sequence[str] = ()
) -> subprocess.Popen[str]:
    """Start a sweep in a new session, as a shell does, so that its process group can be signalled.

    `within` is a prefix that replaces itself by the command after it, for example `unshare`.
    """
    return subprocess.Popen(
        [*within, *COMMAND, "sweep", str(space), "--out", str(out), *options],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=env, start_new_session=True,
    )  # fmt: skip


@contextmanager
def running_sweep(*arguments: Any, **options: Any) -> Iterator[subprocess.Popen[str]]:
    """Start a sweep as `start_sweep` does; if it still runs at the end of the block, kill it and its children."""
    process = start_sweep(*arguments, **options)
    try:
        yield process
    finally:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
            process.communicate()


def mounting(*arguments: object) -> list[str]:
    """Return a prefix for `within`: new user and mount namespaces in which `mount` ran with these arguments."""
    script = f'mount {shlex.join(map(str, arguments))} && exec "$@"'
    return ["unshare", "--user", "--map-root-user", "--mount", "sh", "-c", script, "sh"]


def read_status(out: Path) -> dict[str, Any]:
    result = run_cli("status", out, "--json")
    assert result.returncode == 0, result.stderr
    content: dict[str, Any] = json.loads(result.stdout)
    return content


def at_work(out: Path) -> list[int]:
    """Return the process ids of the running workers."""
    return [beat.process.pid for beat in Store(out).checkpoints.heartbeats() if beat.alive()]


def wait_until(
    condition: Callable[[], object], process: subprocess.Popen[str] | None = None, seconds: float = 180
) -> None:
    """Wait for a condition, for at most `seconds` and while `process` runs."""
    deadline = time.monotonic() + seconds
    while not condition():
        if process is not None and process.poll() is not None:
            raise AssertionError(f"ended with {process.returncode}: {process.communicate()}")
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.02)


def raw(out: Path, folder: str) -> pd.DataFrame:
    """Read a results folder as a user's script does: all rows, duplicates included."""
    frame = pd.read_parquet(str(out / folder))
    keys = ["cell", "task"] if folder == "tasks" else ["cell"]
    for name in frame.columns.intersection(LISTS):
        frame[name] = [values.tobytes() for values in frame[name]]
    return frame.sort_values(keys, ignore_index=True)


def assert_same_results(out: Path, undisturbed: Path, same_packs: bool = True) -> None:
    """Assert that results are equal to the last bit; only seconds may differ, and packs unless `same_packs`."""
    ignored = ["seconds"] if same_packs else ["seconds", "pack"]
    for folder in ("tasks", "cells"):
        ours, expected = (raw(path, folder).drop(columns=ignored, errors="ignore") for path in (out, undisturbed))
        pd.testing.assert_frame_equal(ours, expected, check_exact=True)
        for name in ours.columns[ours.dtypes == np.float64]:
            np.testing.assert_array_equal(ours[name].to_numpy(), expected[name].to_numpy())


def compute_here(cells: Sequence[CellConfig], out: Path, pack: Sequence[str] = ("seed",), keep: bool = True) -> Store:
    """Compute cells in this process, and leave what a sweep leaves."""
    store, space = Store(out), SearchSpace(cells=cells, name="here", pack=tuple(pack))
    store.create()
    with hold_lock(store.driver, dict):
        store.write_sweep({"dtype": "float64", "created": "today", **describe_space(space)})
        done = set(store.read_cells(["cell"])["cell"].to_pylist())
        for item in make_plan(space, done, store, Sizing()).items:
            run = PackRun(item.pack, store=store, keep_state=keep, resume_from=item.resume_from)
            run.run_tasks(item.pack.cells[0].tasks)
            run.finish()
    return store


def faults(folder: Path, names: Sequence[str]) -> dict[str, str]:
    """Return an environment in which the first process at each of these fault points is killed there."""
    folder.mkdir()
    for name in names:
        (folder / name).touch()
    return {**os.environ, FAULTS: str(folder)}
