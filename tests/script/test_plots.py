"""The single-file script's plots: their labels and ticks."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest
from matplotlib.figure import Figure

from lop_sweep.script.columns import SCRIPT_METRICS
from lop_sweep.script.plots import save_script_plots


@pytest.mark.parametrize(
    ("stream", "label"),
    [
        ("gaussian_mixture", "smallest CE of the task (nats)"),
        ("slowly_changing_regression", "smallest loss of the task (squared error)"),
    ],
)
def test_the_axis_has_the_unit_of_the_streams_loss(
    stream: str, label: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    labels: list[str] = []
    ticks: list[float] = []
    save = Figure.savefig

    def record(figure: Figure, *args: object, **options: object) -> None:
        labels.append(figure.axes[0].get_ylabel())
        ticks.extend(figure.axes[0].get_xticks())
        save(figure, *args, **options)

    monkeypatch.setattr(Figure, "savefig", record)
    results = pd.DataFrame({"task": [1, 2], **{one.column: [0.5, 0.4] for one in SCRIPT_METRICS}})
    results = results.rename(columns={one.column: f"{one.column}_L0" for one in SCRIPT_METRICS if one.metric.per_layer})
    paths = save_script_plots(results, stream, tmp_path)
    assert all(path.stat().st_size > 1000 for path in paths)
    assert label in labels
    assert all(tick == round(tick) for tick in ticks), "ticks are at tasks"
