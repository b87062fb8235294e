"""No space, read-only, gone: one clear line, nothing corrupted, and the same command goes on once it is mended."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from sweeping import assert_same_results, start_sweep, sweep, wait_until

from lop_sweep.audit import audit
from lop_sweep.store import Store

SCRIPT = Path(__file__).with_name("failing_disk.py")
OPTIONS = ("--checkpoint-every", "0.2", "--no-progress")


def scenario(what: str, undisturbed: tuple[Path, Path], tmp_path: Path) -> str:
    """What the command said, and its exit status, on a file system of the scenario's own."""
    space, expected = undisturbed
    (tmp_path / "disk").mkdir()
    result = subprocess.run(
        ["unshare", "--user", "--map-root-user", "--mount", sys.executable, SCRIPT, what, space, expected,
         tmp_path / "disk"],
        capture_output=True, text=True, timeout=300,
    )  # fmt: skip
    assert result.returncode == 0, result.stderr
    return result.stdout.splitlines()[0]


def test_a_full_disk_is_named_and_the_sweep_goes_on_when_there_is_room(
    undisturbed: tuple[Path, Path], tmp_path: Path
) -> None:
    said = scenario("full", undisturbed, tmp_path)
    assert said.startswith("2 lop-sweep: ")
    assert "cannot be written: [Errno 28] No space left on device" in said
    assert said.endswith("; once that is mended, the same command goes on")


@pytest.mark.long
def test_a_disk_that_turns_read_only_is_named_and_the_sweep_goes_on_when_it_is_not(
    undisturbed: tuple[Path, Path], tmp_path: Path
) -> None:
    said = scenario("readonly", undisturbed, tmp_path)
    assert said.startswith("2 lop-sweep: ")
    assert "cannot be written: [Errno 30] Read-only file system" in said


@pytest.mark.long
def test_a_directory_that_vanishes_is_named_and_the_sweep_goes_on_when_it_is_back(
    undisturbed: tuple[Path, Path], tmp_path: Path
) -> None:
    space, expected = undisturbed
    out, away = tmp_path / "out", tmp_path / "away"
    process = start_sweep(space, out, *OPTIONS)
    wait_until(Store(out).committed, process)
    out.rename(away)
    _, stderr = process.communicate(timeout=200)
    assert process.returncode == 2, stderr
    last = stderr.splitlines()[-1]
    assert last.startswith(f"lop-sweep: {out}")
    assert last.endswith("; once that is mended, the same command goes on")
    shutil.rmtree(out, ignore_errors=True)  # what Tune has made again of its own folder
    away.rename(out)
    assert sum("cells are not there" not in str(finding) for finding in audit(Store(out)).findings) == 0
    again = sweep(space, out, *OPTIONS)
    assert again.returncode == 0, again.stderr
    assert_same_results(out, expected)
