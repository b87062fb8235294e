"""The documentation site: its generated parts are up to date, and its hooks turn the repository's links into pages.

`make docs`, which CI runs, builds all of it and treats warnings as errors.
"""

from __future__ import annotations

import re
from collections.abc import Callable

import hooks
import pytest
from generated_tables import DOCS, TABLES, split

import analysis
import lop_sweep


@pytest.mark.parametrize(("page", "marker", "expected"), TABLES, ids=[f"{page}: {name}" for page, name, _ in TABLES])
def test_generated_parts_are_up_to_date(page: str, marker: str, expected: Callable[[], str]) -> None:
    """`python docs/site/generated_tables.py` writes them."""
    assert split(page, marker)[1] == expected()


def test_every_option_is_in_the_reference_of_commands() -> None:
    text = split("cli", "lop-sweep")[1]
    assert "| `--out DIR` | the sweep directory; run again to continue; required |\n" in text
    assert "| `--tensorboard [FOLDER]` |" in text
    assert "| `--keep-state`, `--no-keep-state` |" in text
    assert "| `[KIND\\|NAME ...]` |" in text


def test_the_page_on_python_has_every_public_name() -> None:
    named = re.findall(r"^::: (\S+)$", (DOCS / "api.md").read_text(), flags=re.MULTILINE)
    public = [f"{package.__name__}.{name}" for package in (lop_sweep, analysis) for name in package.__all__]
    assert sorted(named) == sorted([*public, "lop_sweep.testing.check_component"])


def test_main_terms_are_linked_to_the_glossary() -> None:
    entries = re.findall(r"^### (.+)$", (DOCS / "glossary.md").read_text(), flags=re.MULTILINE)
    pages = [*DOCS.rglob("*.md"), DOCS.parent / "README.md"]
    linked = {anchor for page in pages for anchor in re.findall(r"glossary\.md#([\w-]+)", page.read_text())}
    assert len(entries) > 20
    assert linked <= {entry.lower().replace(" ", "-") for entry in entries}
    assert {"cell", "pack", "task", "sequence", "fresh-network", "verdict", "late-tasks", "sweep-directory"} <= linked


@pytest.mark.parametrize(
    ("page", "link", "target"),
    [
        ("README.md", "docs/gallery/lost.png", "gallery/lost.png"),
        ("README.md", "docs/gallery/README.md", "gallery/README.md"),
        ("README.md", "CHANGELOG.md", "changelog.md"),
        ("docs/sweeps.md", "../README.md", "index.md"),
        ("docs/gallery/README.md", "../analysis.md", "analysis.md"),
        ("docs/analysis.md", "analysis.ipynb", "notebook.md"),
        ("docs/configuration.md", "../lop_sweep/config.py", "source/lop_sweep/config.py.md"),
        ("docs/sweeps.md", "../search_spaces", "source/search_spaces.md"),
    ],
)
def test_links_lead_to_pages_of_the_site(page: str, link: str, target: str) -> None:
    path = hooks.resolve(page, link)
    assert path is not None
    assert hooks.site_uri(path) == target


@pytest.mark.parametrize("link", ["https://example.com/README.md", "../../etc/passwd", "missing.md"])
def test_other_links_are_left_alone(link: str) -> None:
    assert hooks.resolve("docs/sweeps.md", link) is None


def test_a_folder_is_shown_file_by_file() -> None:
    page = hooks.source_page("search_spaces")
    assert "## `demo.py`" in page
    assert "param_space = {" in page


def test_the_notebook_becomes_a_page_with_its_figures() -> None:
    page = hooks.content_of("docs/analysis.ipynb")
    assert page.startswith("# ")
    assert page.count('src="data:image/png;base64,') > 2
    assert "```python\n" in page


@pytest.mark.parametrize(
    ("html", "expected"),
    [
        ('<script src="https://unpkg.com/x.js"></script>', ["https://unpkg.com/x.js"]),
        ('<link href="//fonts.example/css" rel="stylesheet">', ["//fonts.example/css"]),
        ("<img alt=x src=http://example.com/a.png>", ["http://example.com/a.png"]),
        ('<a href="https://example.com">to click</a> <script src="assets/a.js"></script>', []),
        ('<link rel="canonical" href="https://example.com/page.html">', []),
    ],
)
def test_pages_that_load_from_other_sites_are_found(html: str, expected: list[str]) -> None:
    assert hooks.external_assets(html) == expected
