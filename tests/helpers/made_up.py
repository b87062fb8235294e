"""Made-up score frames."""

from __future__ import annotations

import numpy as np
import pandas as pd

from analysis.scoring.criterion import with_criterion
from lop_sweep.config import FIELDS, CellConfig


def scored_frame(rows: list[dict[str, object]]) -> pd.DataFrame:
    """Return a frame as from `score_cells`, from made-up rows; columns left out take plausible values."""
    base = {
        **CellConfig().model_dump(),
        "status": "finished",
        "verdict": "plastic",
        "lost": 0.0,
        "excess": 0.0,
        "fresh_mean_ce": 0.1,
    }
    frame = pd.DataFrame([{**base, "cell": str(i), **row} for i, row in enumerate(rows)])
    assert set(FIELDS) <= set(frame.columns)
    scored = frame.assign(late_ce=frame["fresh_mean_ce"] + frame["excess"], late_effective_rank=np.nan)
    return with_criterion(scored)
