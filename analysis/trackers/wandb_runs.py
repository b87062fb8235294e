"""Weights & Biases: one run per cell, in one group per sweep directory.

A run's id is the cell's id and the directory's origin, and it resumes the run of this id if there is one. So a cell has
one run, whoever logs it and however often. A run is written once its scores are final: an offline run cannot be
extended later without a second folder.

`lop_sweep.json` in a run's folder says in which state a cell was logged from this machine.
"""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

from analysis.trackers.records import CellRecord
from analysis.trackers.tracker import SweepLabel, require
from lop_sweep.errors import TrackerError

_MARK = "lop_sweep.json"
_SETTINGS = {
    "console": "off",
    "silent": True,
    "disable_git": True,
    "save_code": False,
    "x_disable_meta": True,  # it would upload the command line
    "x_disable_stats": True,
    "x_disable_machine_info": True,
    "init_timeout": 30.0,
    "login_timeout": 5.0,
    "finish_timeout": 60.0,
    "finish_timeout_raises": True,
}


class WandbRuns:
    """The runs of a project. `WANDB_MODE=offline` writes them to `./wandb` instead of a server.

    Args:
        project: a project's name, or ENTITY/PROJECT.

    Raises:
        TrackerError: wandb is not installed.
    """

    name, takes_pending, address = "W&B", False, ""

    def __init__(self, project: str) -> None:
        require("wandb", "--wandb", "wandb")
        entity, _, self._project = project.rpartition("/")
        self._entity = entity or None
        self.option = f"--wandb {project}"
        self._sweep = SweepLabel("", "")
        self._run: Any = None

    def open(self, sweep: SweepLabel) -> dict[str, str]:
        """Return the cells that were logged from this folder in this mode; see `Tracker`."""
        os.environ.setdefault("WANDB_ERROR_REPORTING", "false")
        import wandb

        self._sweep = sweep
        settings = wandb.setup(wandb.Settings(silent=True)).settings  # with environment variables and W&B's own files
        if settings.mode == "disabled":
            raise TrackerError("W&B is disabled by WANDB_MODE: nothing would be logged; unset it, or set it to offline")
        prefix = "offline-run" if settings.mode in ("offline", "dryrun") else "run"
        states = {}
        for path in sorted(Path(settings.wandb_dir).glob(f"{prefix}-*-{sweep.origin}/{_MARK}")):
            mark = json.loads(path.read_text())
            if mark["project"] == self._project and mark["entity"] == self._entity:
                states[str(mark["cell"])] = str(mark["state"])
        return states

    def write(self, record: CellRecord, logged: bool) -> None:
        """Write a cell's run, or its new scores; see `Tracker`."""
        import wandb

        self.close()
        run = self._run = wandb.init(
            entity=self._entity,
            project=self._project,
            id=f"{record.cell}-{self._sweep.origin}",
            name=record.cell,
            group=str(self._sweep),
            config=dict(record.config),
            resume="allow",
            reinit="create_new",
            settings=wandb.Settings(**_SETTINGS),
        )
        state = run.summary.get("lop_sweep.state")
        if not logged and state is None:
            for task, values in record.points:
                run.log(values, step=task)
        if state != record.state:
            scores = {f"score/{name}": value for name, value in record.scores.items()}
            run.summary.update({**scores, **record.labels, "lop_sweep.state": record.state})
        folder = Path(run.dir).parent
        self.close()
        mark = {"cell": record.cell, "state": record.state, "project": self._project, "entity": self._entity}
        (folder / _MARK).write_text(json.dumps(mark))

    def close(self) -> None:
        """Finish the open run; see `Tracker`."""
        run, self._run = self._run, None
        if run is not None:
            run.finish()
