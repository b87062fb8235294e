"""The commands that need `analysis` check that it is ours."""

from __future__ import annotations

import importlib.util
from pathlib import Path

from lop_sweep.errors import LopSweepError


def check_own_analysis(what: str, error: type[LopSweepError]) -> None:
    """Refuse to go on if another package named analysis hides ours, such as a folder of the user's project.

    Args:
        what: needs it, as "trackers need".
        error: to raise.

    Raises:
        LopSweepError: of the class `error`, if it does.
    """
    found = importlib.util.find_spec("analysis")
    ours = Path(__file__).parents[2] / "analysis"
    places = [] if found is None else list(map(Path, found.submodule_search_locations or [found.origin or ""]))
    if places and not any(place.resolve() == ours.resolve() for place in places):
        raise error(
            f"{places[0]} hides lop-sweep's package of the same name, which {what}; "
            "run the command elsewhere, with python -P, or rename it"
        )
