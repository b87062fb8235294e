"""A full, read-only or vanished disk is named on one line, corrupts nothing, and the same command resumes later."""

from __future__ import annotations

import errno
import os
import shutil
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
from sweeping import COMMAND, Start, assert_same_results, start_sweep, sweep, wait_until

from lop_sweep.storage.maintenance.audit import audit
from lop_sweep.storage.store import Store
from lop_sweep.tune.callbacks import TrialWatch
from lop_sweep.tune.progress import Progress
from lop_sweep.tune.shutdown import Stop

SCRIPT = Path(__file__).parents[1] / "helpers" / "failing_disk.py"
OPTIONS = ("--checkpoint-every", "0.2", "--no-progress")


def scenario(what: str, undisturbed: tuple[Path, Path], tmp_path: Path) -> str:
    """Return the exit status and the message of the command on a file system of the scenario's own."""
    space, expected = undisturbed
    (tmp_path / "disk").mkdir()
    result = subprocess.run(
        ["unshare", "--user", "--map-root-user", "--mount", sys.executable, SCRIPT, what, space, expected,
         tmp_path / "disk"],
        capture_output=True, text=True, timeout=300,
    )  # fmt: skip
    assert result.returncode == 0, result.stderr
    return result.stdout.splitlines()[0]


@pytest.mark.long
def test_a_full_disk_is_named_and_the_sweep_resumes(undisturbed: tuple[Path, Path], tmp_path: Path) -> None:
    said = scenario("full", undisturbed, tmp_path)
    assert said.startswith("2 lop-sweep: ")
    assert "cannot be written: [Errno 28] No space left on device" in said
    assert said.endswith("; fix this, then run the same command again to continue")


@pytest.mark.long
def test_a_read_only_disk_is_named_and_the_sweep_resumes(undisturbed: tuple[Path, Path], tmp_path: Path) -> None:
    said = scenario("readonly", undisturbed, tmp_path)
    assert said.startswith("2 lop-sweep: ")
    assert "cannot be written: [Errno 30] Read-only file system" in said


@pytest.mark.long
def test_a_vanished_directory_is_named_and_the_sweep_resumes(undisturbed: tuple[Path, Path], tmp_path: Path) -> None:
    space, expected = undisturbed
    out, away = tmp_path / "out", tmp_path / "away"
    process = start_sweep(space, out, *OPTIONS)
    wait_until(Store(out).committed, process)
    out.rename(away)
    _, stderr = process.communicate(timeout=200)
    assert process.returncode == 2, stderr
    last = stderr.splitlines()[-1]
    assert last.startswith(f"lop-sweep: {out}")
    assert last.endswith("; fix this, then run the same command again to continue")
    shutil.rmtree(out, ignore_errors=True)  # what Tune has made again of its own folder
    away.rename(out)
    assert sum("cells are not there" not in str(finding) for finding in audit(Store(out)).findings) == 0
    again = sweep(space, out, *OPTIONS)
    assert again.returncode == 0, again.stderr
    assert_same_results(out, expected)


def on_failing_files(folder: Path) -> list[str]:
    """Return a command for `start_sweep(within=...)` that mounts `failing_files.py` on the folder while it runs."""
    script = """
    "$1" "$2" "$3" 2> /dev/null & disk=$!
    until mountpoint -q "$3"; do kill -0 $disk || exit 99; sleep 0.05; done
    shift 3
    "$@"
    status=$?
    kill -9 $disk
    exit $status
    """
    return [
        "unshare", "--user", "--map-root-user", "--mount", "sh", "-c", script, "sh",
        sys.executable, str(SCRIPT.with_name("failing_files.py")), str(folder),
    ]  # fmt: skip


def test_a_failure_shows_that_the_directory_cannot_be_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Then the sweep ends at once: every other pack would use up its retries for the same reason."""

    def listdir(path: Path) -> list[str]:
        raise OSError(errno.EIO, os.strerror(errno.EIO), str(path))

    store, stop = Store(tmp_path / "out"), Stop()
    store.create()
    watch = TrialWatch([], store, Progress(False), stop, max_failures=3)
    failed = SimpleNamespace(error_file=None, custom_dirname="pack", num_failures=1)
    watch.on_trial_recover(1, [failed], failed)
    assert not stop
    monkeypatch.setattr(os, "listdir", listdir)
    watch.on_trial_recover(1, [failed], failed)
    assert str(stop.error).startswith(f"{store.driver}: cannot be read: [Errno 5] Input/output error")


@pytest.mark.long
@pytest.mark.parametrize("what", ["reads", "writes"])
def test_a_disk_that_answers_with_errors_is_named(
    what: str, started: Start, undisturbed: tuple[Path, Path], tmp_path: Path
) -> None:
    """With EIO, as from a broken disk, by a file system of our own that the kernel calls."""
    space, expected = undisturbed
    disk = tmp_path / "disk"
    disk.mkdir()
    store = Store(disk / "out")
    process = started(space, store.root, *OPTIONS, within=on_failing_files(disk))
    wait_until(store.committed, process)
    (disk / f"fail-{what}").touch()
    _, stderr = process.communicate(timeout=200)
    assert process.returncode == 2, stderr
    assert "[Errno 5] Input/output error" in stderr.splitlines()[-1]
    assert stderr.splitlines()[-1].endswith("; fix this, then run the same command again to continue")
    assert "Traceback" not in stderr
    writing = [["sweep", space, "--out", store.root], ["compact", store.root]]
    for command in [*writing, ["status", store.root], ["audit", store.root]] if what == "reads" else writing:
        refused = subprocess.run(
            [*on_failing_files(disk), *COMMAND, *command], capture_output=True, text=True, timeout=60
        )
        assert refused.returncode == 2, refused.stdout
        assert refused.stderr.count("\n") == 1, refused.stderr
        assert "[Errno 5] Input/output error" in refused.stderr
    (disk / f"fail-{what}").unlink()
    assert 0 < len(store.committed()) < 8
    assert not list(store.failures.folder.glob("*"))  # it is not the packs' fault
    missing, *leftovers = sorted(map(str, audit(store).findings))
    assert "cells are not there" in missing
    # A temporary whose removal failed, too; the next sweep removes it.
    assert all("left by a writer that is gone" in leftover for leftover in leftovers)
    again = sweep(space, store.root, *OPTIONS)
    assert again.returncode == 0, again.stderr
    assert_same_results(store.root, expected)
    assert audit(store).findings == []
