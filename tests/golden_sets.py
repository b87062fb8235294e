"""Where the golden files are and what they were computed with."""

from __future__ import annotations

import json
from pathlib import Path

GOLDEN = Path(__file__).parent / "golden"


def golden_flags(name: str) -> dict[str, object]:
    """A golden set's configuration, by the script's flags."""
    return json.loads((GOLDEN / name / "config.json").read_text())
