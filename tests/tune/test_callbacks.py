"""What becomes of a trial that Tune has given up: a failure of its pack, or another round."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import pytest

from lop_sweep.config import CellConfig
from lop_sweep.pack import Pack
from lop_sweep.storage.store import Store
from lop_sweep.tune.callbacks import TrialWatch
from lop_sweep.tune.progress import Progress
from lop_sweep.tune.shutdown import Stop

UNAVAILABLE = "The actor 08c7d3c9 is unavailable: The actor is temporarily unavailable: RpcError: Socket closed"
DIED = "The actor died unexpectedly before finishing this task.\n\tclass_name: LopTrainable"
ERROR = "Traceback (most recent call last):\nValueError: wrong"


@pytest.mark.parametrize(
    ("message", "failures", "failed"),
    [(UNAVAILABLE, 3, False), (DIED, 1, False), (UNAVAILABLE, 4, True), (DIED, 4, True), (ERROR, 1, True)],
)
def test_a_lost_worker_is_a_failure_only_without_retries(
    small: CellConfig, tmp_path: Path, message: str, failures: int, failed: bool
) -> None:
    """Tune gives up a trial with retries left if two errors of one worker arrive one after the other."""
    store, pack = Store(tmp_path / "out"), Pack((small,))
    store.create()
    (tmp_path / "error.txt").write_text(f"Failure # {failures} (occurred at 2026-01-01_00-00-00)\n{message}\n")
    watch = TrialWatch([pack], store, Progress(False), Stop(), max_failures=3)
    trial = SimpleNamespace(custom_dirname=pack.id, error_file=str(tmp_path / "error.txt"), num_failures=failures)
    watch.on_trial_error(0, [trial], trial)
    assert set(watch.failed) == ({pack.id} if failed else set())
    assert bool(watch.interrupted) is not failed
    assert len(store.failures.read()) == int(failed)
