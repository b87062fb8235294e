"""Where the golden files are and what they were computed with."""

from __future__ import annotations

import json
from pathlib import Path

from lop_sweep.config import FIELDS, CellConfig

GOLDEN = Path(__file__).parents[1] / "golden"


def golden_flags(name: str) -> dict[str, object]:
    """A golden set's configuration, by the script's flags."""
    return json.loads((GOLDEN / name / "config.json").read_text())


def golden_config(name: str) -> CellConfig:
    """A golden set's configuration."""
    fields = {info.flag: name for name, info in FIELDS.items()}
    flags = golden_flags(name).items()
    return CellConfig(**{fields.get(flag, flag): value for flag, value in flags if fields.get(flag, flag) in FIELDS})
