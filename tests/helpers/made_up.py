"""Made-up score frames."""

from __future__ import annotations

import numpy as np
import pandas as pd

from lop_sweep.config import FIELDS, CellConfig


def scored_frame(rows: list[dict[str, object]]) -> pd.DataFrame:
    """A frame like `score_cells` returns, from made-up rows; what is left out takes plausible values."""
    base = {
        **CellConfig().model_dump(),
        "status": "finished",
        "phase": "plastic",
        "lost": 0.0,
        "excess": 0.0,
        "fresh_ce": 0.1,
    }
    frame = pd.DataFrame([{**base, "cell": str(i), **row} for i, row in enumerate(rows)])
    assert set(FIELDS) <= set(frame.columns)
    return frame.assign(late_final_ce=frame["fresh_ce"] + frame["excess"], late_effective_rank=np.nan)
