"""The parts of the docs that are generated, each between two markers. Run it to write them again:

    python docs/site/generated_tables.py

A test checks that they are up to date.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from command_reference import command_reference

import analysis.cli
import lop_sweep.cli
from lop_sweep.components.listing import component_table
from lop_sweep.config import field_table
from lop_sweep.metrics import metric_table

DOCS = Path(__file__).parents[1]
TABLES: list[tuple[str, str, Callable[[], str]]] = [
    ("components", "components", component_table),
    ("configuration", "fields", field_table),
    ("protocol", "metrics", metric_table),
    ("protocol", "optional metrics", lambda: metric_table(optional=True)),
    ("cli", "lop-sweep", lambda: command_reference(lop_sweep.cli.make_parser())),
    ("cli", "lop-analysis", lambda: command_reference(analysis.cli.make_parser())),
]
"""The page, the name in its markers, and what makes the text between them."""


def split(page: str, marker: str) -> tuple[str, str, str]:
    """Return a page's text up to a marker, what is between the marker and its end, and the rest."""
    before, start, rest = (DOCS / f"{page}.md").read_text(encoding="utf-8").partition(f"<!-- {marker} -->\n")
    table, end, after = rest.partition(f"<!-- /{marker} -->\n")
    if not start or not end:
        raise ValueError(f"docs/{page}.md must have the lines <!-- {marker} --> and <!-- /{marker} -->")
    return before + start, table, end + after


def main() -> None:
    """Write all generated parts."""
    for page, marker, make in TABLES:
        before, _, after = split(page, marker)
        (DOCS / f"{page}.md").write_text(before + make() + after, encoding="utf-8")


if __name__ == "__main__":
    main()
