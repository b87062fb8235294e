"""What can be drawn on a map: each score's name, unit and colours."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from matplotlib.colors import Colormap, LogNorm, Normalize

from analysis.scores import CHANCE_CE
from lop_sweep.errors import AnalysisError, named


@dataclass(frozen=True)
class MapValue:
    """A score as a map shows it.

    Attributes:
        column: of the frame that `score_cells` returns.
        label: what the colour bar says, with the unit.
        norm: makes the colour scale from the finite values of the map.
        colours: name of a matplotlib colour map.
        judged: whether it depends on the fresh baseline, and so is shown only where plasticity can be judged.
        note: a line for the caption.
    """

    column: str
    label: str
    norm: Callable[[np.ndarray], Normalize]
    colours: str = "viridis"
    judged: bool = False
    note: str = ""

    def colour_map(self) -> Colormap:
        """The colour map; NaN is transparent."""
        import matplotlib

        return matplotlib.colormaps[self.colours].with_extremes(bad=(0, 0, 0, 0))


def _fixed(low: float, high: float) -> Callable[[np.ndarray], Normalize]:
    return lambda values: Normalize(low, high)


def _linear(values: np.ndarray) -> Normalize:
    return Normalize(values.min(), values.max()) if values.size and np.ptp(values) > 0 else Normalize()


def _log(values: np.ndarray) -> Normalize:
    positive = values[values > 0]
    return LogNorm(positive.min(), positive.max()) if positive.size and np.ptp(positive) > 0 else Normalize()


VALUES: dict[str, MapValue] = {
    "excess": MapValue(
        "excess",
        "excess: late CE - fresh CE (nats)",
        _fixed(-CHANCE_CE, CHANCE_CE),
        "RdBu_r",
        judged=True,
        note="0: as good as fresh networks; the colours end at ln 2 = 0.69 nats, the CE of guessing",
    ),
    "log_ratio": MapValue("log_ratio", "log10 of late CE / fresh CE", _fixed(-2, 2), "RdBu_r", judged=True),
    "lost": MapValue("lost", "share of seeds that lost plasticity", _fixed(0, 1), "magma_r", judged=True),
    "late_ce": MapValue("late_final_ce", "final CE of the late tasks (nats)", _log),
    "late_min_ce": MapValue("late_min_ce", "smallest CE of the late tasks (nats)", _log),
    "fresh_ce": MapValue("fresh_ce", "final CE of fresh networks (nats)", _log),
    "effective_rank": MapValue("late_effective_rank", "effective rank, late tasks, mean over layers", _linear),
    "duplicate_fraction": MapValue(
        "late_duplicate_fraction", "duplicate features, late tasks, mean over layers (share)", _fixed(0, 1)
    ),
    "saturation": MapValue("late_saturation", "saturated units, late tasks (share of |z| > 2)", _fixed(0, 1)),
    "grad_norm": MapValue("late_grad_norm", "hidden gradient norm at task start, late tasks", _log),
}


def map_value(name: str) -> MapValue:
    """The score of this name.

    Raises:
        AnalysisError: there is none.
    """
    if name not in VALUES:
        raise AnalysisError(f"value {name!r} is unknown; there are {named(VALUES)}")
    return VALUES[name]
