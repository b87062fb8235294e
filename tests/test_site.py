"""The documentation site: its generated parts are up to date, it builds without a warning, and its pages work.

Whether commands and Python blocks run is tested by `tests/test_readme.py`.
"""

from __future__ import annotations

import os
import posixpath
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from urllib.parse import unquote

import hooks
import pytest
from generated_tables import DOCS, TABLES, split
from playwright.sync_api import Browser, Page

import analysis
import lop_sweep

ROOT = DOCS.parent
LINK = re.compile(r"""<(?:a|img|link|script)\b[^>]*?\b(?:href|src)="([^"#?:]+)["#?]""")
LOCAL = ("file:", "data:", "blob:")
STATISTICS = ("survival", "effects", "collapse", "comparison", "points", "specification")
"""The figures of statistics."""
LEFT = "net::ERR_ABORTED"
"""How a request fails whose page was left before it was answered."""
PHONE, DESK = {"width": 375, "height": 800}, {"width": 1280, "height": 800}
TOO_WIDE = """() => {
    if (document.documentElement.scrollWidth <= innerWidth) return [];
    const inside = element => element.closest('.md-typeset__scrollwrap, .wide, pre, .md-sidebar');
    const wide = [...document.querySelectorAll('body *')]
        .filter(element => element.getBoundingClientRect().right > innerWidth + 1 && !inside(element));
    return ['the page', ...wide.map(element => element.outerHTML.slice(0, 80))];
}"""


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The site, built as `make docs` builds it."""
    folder = tmp_path_factory.mktemp("site")
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--quiet", "--site-dir", str(folder)]
    environment = {**os.environ, "NO_MKDOCS_2_WARNING": "1"}
    result = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True)
    assert (result.returncode, result.stdout, result.stderr) == (0, "", "")
    return folder


def pages_of(site: Path) -> list[Path]:
    """Return the site's pages, without the one that only a server shows."""
    return sorted(path for path in site.rglob("*.html") if path.name != "404.html")


def test_every_page_is_on_the_site_and_nothing_else(site: Path) -> None:
    sources = {path.relative_to(DOCS) for path in DOCS.rglob("*.md") if not path.name.endswith(".template.md")}
    expected = {path.with_name("index.html" if path.name == "README.md" else f"{path.stem}.html") for path in sources}
    expected |= {Path(name) for name in ("index.html", "changelog.html", "notebook.html")}
    found = {path.relative_to(site) for path in pages_of(site)}
    assert {path for path in found if path.parts[0] != "source"} == expected
    assert not list(site.rglob("*.template*"))
    assert not list((site / "site").glob("*.py"))


def test_links_of_built_pages_lead_to_files(site: Path) -> None:
    for page in pages_of(site):
        for link in set(LINK.findall(page.read_text())):
            target = posixpath.normpath(posixpath.join(page.parent.as_posix(), unquote(link)))
            assert Path(target).exists(), f"{page.relative_to(site)}: {link}"


def test_pages_fit_a_phone_and_load_nothing_from_elsewhere(site: Path, browser: Browser) -> None:
    page = browser.new_page(viewport=PHONE)
    wrong: list[str] = []
    page.on("request", lambda request: wrong.append(request.url) if not request.url.startswith(LOCAL) else None)
    page.on("requestfailed", lambda request: wrong.append(request.url) if request.failure != LEFT else None)
    page.on("console", lambda message: wrong.append(message.text) if message.type == "error" else None)
    page.on("pageerror", lambda error: wrong.append(str(error)))
    for path in pages_of(site):
        page.goto(path.as_uri(), wait_until="domcontentloaded")
        assert page.evaluate(TOO_WIDE) == [], path.relative_to(site)
    page.close()
    assert wrong == []


@pytest.fixture
def desk(browser: Browser) -> Iterator[Page]:
    page = browser.new_page(viewport=DESK, color_scheme="dark")
    yield page
    page.close()


def test_the_site_can_be_searched_without_a_server(site: Path, desk: Page) -> None:
    desk.goto((site / "index.html").as_uri())
    desk.click("input.md-search__input")
    desk.keyboard.type("glossary")
    desk.wait_for_selector('.md-search-result__link[href*="glossary.html"]')


def test_pictures_are_legible_on_a_dark_page(site: Path, desk: Page) -> None:
    desk.goto((site / "gallery" / "optimizers.html").as_uri())
    ground = "getComputedStyle(document.querySelector('article img')).backgroundColor"
    assert desk.evaluate("getComputedStyle(document.body).backgroundColor") != "rgb(255, 255, 255)"
    assert desk.evaluate(ground) == "rgb(255, 255, 255)"


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
    public += [f"analysis.refinement.{name}" for name in ("Refiner", "Budget", "LevelSet", "Candidates")]
    public += [f"analysis.plot.plot_{name}" for name in STATISTICS]
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
