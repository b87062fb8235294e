"""The report: one HTML file in which a sweep's maps, curves and rules can be explored, offline and without a server."""

from __future__ import annotations

import base64
import hashlib
import html
import json
import re
from collections.abc import Iterable, Mapping
from importlib import resources
from pathlib import Path
from typing import Any

from analysis.data import Where
from analysis.report.data import collect
from analysis.report.encoding import compress, pack_arrays
from analysis.scoring import LossCriterion
from lop_sweep.errors import printable
from lop_sweep.storage import write_bytes, writing
from lop_sweep.version import __version__

SCRIPTS: tuple[str, ...] = (
    "words.js", "data.js", "scores.js", "points.js", "colours.js", "state.js", "command.js",
    "controls.js", "map.js", "hover.js", "curves.js", "details.js", "main.js",
)  # fmt: skip
"""The page's scripts, in the order in which they run."""


def write_report(
    directory: str | Path, out: str | Path, criterion: LossCriterion | None = None, where: Where | None = None
) -> None:
    """Write the report of a sweep's finished cells.

    The file holds all that the page shows and needs no network. 2 MB are the plotting library; the rest grows with the
    cells and, up to `analysis.report.data.FULL_ROWS` rows, with their tasks: 10,000 cells of 100 tasks give some 12 MB.
    Beyond, sequences are thinned out so that only the number of cells matters, some 1 kB each. Memory grows like the
    file, to a few times its size.

    Args:
        directory: a sweep directory; a sweep may be writing to it.
        out: the file, conventionally `.html`; replaced whole or not at all.
        rule: when plasticity counts as lost, as the page opens; None for the default. The page can change it.
        where: conditions on the cells, see `analysis.data.load.select`; None for all.

    Raises:
        StoreError: it is not a sweep directory, a file in it is damaged, or `out` cannot be written.
        AnalysisError: there is no finished cell, a condition cannot be met, or the rule's definition needs every task
            of a sweep that is too large for that.
    """
    data = collect(directory, criterion or LossCriterion(), where)
    arrays, packed = pack_arrays(data.arrays)
    about = {**data.about, "version": __version__, "arrays": arrays}
    page = _page(about, packed)
    path = Path(out)
    with writing(path):
        write_bytes(path, page.encode())


def _page(about: Mapping[str, Any], packed: str) -> str:
    from plotly.offline import get_plotlyjs  # takes a while to import

    plotly, scripts = get_plotlyjs(), [f"\n{_file(name)}" for name in SCRIPTS]
    parts = {
        "policy": content_policy([*scripts, plotly]),
        "title": html.escape(printable(f"Loss of plasticity: {about['space'] or about['directory']}")),
        "style": _file("style.css"),
        "about": json_in_script(about),
        "arrays": packed,
        "plotly": compress(plotly.encode()),
        "scripts": "\n".join(f"<script>{script}</script>" for script in scripts),
    }
    return re.sub(r"\{\{(\w+)\}\}", lambda match: parts[match[1]], _file("page.html"))


def content_policy(scripts: Iterable[str]) -> str:
    """Return a content security policy under which a browser runs these scripts and no others.

    A script is known by the SHA-256 of its text, in an element of the page or in one that another script makes, as that
    of the plotting library is. Markup that escaping has let through cannot run code: neither scripts nor attributes
    like `onerror` nor `javascript:` addresses have a hash that is listed. Nothing can be fetched or sent, except images
    within the page.

    Styles may be inline: the plotting library writes style attributes into the SVG that it draws, and a style sheet of
    its own into the page; their text is not known beforehand. Styles cannot load anything either.
    """
    hashes = (base64.b64encode(hashlib.sha256(script.encode()).digest()).decode() for script in scripts)
    return "; ".join(
        (
            "default-src 'none'",
            "script-src " + " ".join(f"'sha256-{value}'" for value in hashes),
            "style-src 'unsafe-inline'",
            "img-src data: blob:",
            "base-uri 'none'",
            "form-action 'none'",
        )
    )


def json_in_script(content: Mapping[str, Any]) -> str:
    """JSON that can stand in a script element: nothing in it ends the element or opens a comment."""
    text = json.dumps(content, allow_nan=False, separators=(",", ":"))
    return text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")


def _file(name: str) -> str:
    return (resources.files("analysis.report") / "page" / name).read_text(encoding="utf-8")
