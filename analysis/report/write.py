"""The report: one HTML file to explore the maps and curves of a sweep in a browser, offline and without a server."""

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
from analysis.scoring import LossCriterion, make_criterion
from lop_sweep.console.options import accepts_options
from lop_sweep.errors import printable
from lop_sweep.storage import write_bytes, writing
from lop_sweep.version import __version__

SCRIPTS: tuple[str, ...] = (
    "words.js", "data.js", "scores.js", "points.js", "fits.js", "colours.js", "state.js",
    "command.js", "controls.js", "texts.js", "map.js", "hover.js", "curves.js", "details.js", "main.js",
)  # fmt: skip
"""The page's scripts, in the order in which they run."""


@accepts_options(LossCriterion)
def write_report(
    directory: str | Path,
    out: str | Path,
    *,
    where: Where | None = None,
    criterion: LossCriterion | None = None,
    **thresholds: Any,
) -> None:
    """Write the report of a sweep's finished cells.

    The file contains everything that the page shows, and needs no network. The plotting library takes 2 MB. The rest
    grows with the cells and, up to `analysis.report.sequences.MAX_FULL_ROWS` rows, with their tasks: 10,000 cells of
    100 tasks take 12 MB. Above, sequences are means over blocks of tasks, and a cell takes 1 kB. Memory grows with
    the file, to a few times its size.

    Args:
        directory: a sweep directory; a sweep may be writing to it.
        out: the file, conventionally `.html`; it is replaced atomically.
        where: conditions on the cells, see `analysis.data.select`; None for all.
        criterion: when plasticity counts as lost, as the page opens; None for the default. The page can change it.
        thresholds: any fields of `LossCriterion`, which replace those of `criterion`.

    Raises:
        StoreError: `directory` is not a sweep directory, a file in it is damaged, or `out` cannot be written.
        AnalysisError: no cell is finished, a condition cannot be met, a threshold does not exist or is out of range, or
            the definition needs every task of a sweep that is too large for that.
    """
    data = collect(directory, make_criterion(criterion, thresholds), where)
    arrays, packed = pack_arrays(data.arrays)
    about = {**data.about, "version": __version__, "arrays": arrays}
    page = _page(about, packed)
    path = Path(out)
    with writing(path):
        write_bytes(path, page.encode())


def _page(about: Mapping[str, Any], packed: str) -> str:
    from plotly.offline import get_plotlyjs  # here, because its import takes a second

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

    The policy lists the SHA-256 of each script's text. That covers a script element of the page, and one that another
    script creates, as for the plotting library. Markup that escaping has let through cannot run code: no hash is listed
    for its scripts, its attributes like `onerror` or its `javascript:` addresses. Nothing can be fetched or sent,
    except images within the page.

    Styles may be inline. The plotting library writes style attributes into the SVG that it draws, and a style sheet of
    its own into the page, so their text is not known beforehand. Styles cannot load anything either.
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
    """Return JSON that is safe in a script element: nothing in it ends the element or opens a comment."""
    text = json.dumps(content, allow_nan=False, separators=(",", ":"))
    return text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")


def _file(name: str) -> str:
    return (resources.files("analysis.report") / "page" / name).read_text(encoding="utf-8")
