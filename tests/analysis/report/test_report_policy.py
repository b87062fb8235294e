"""The report's content security policy in a real browser: code that escaping has let through does not run."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page

POLICY = re.compile(r'<meta http-equiv="Content-Security-Policy" content="([^"]*)">')
MARKUP = """
<script>window.smuggled.push('script')</script>
<script src="data:text/javascript,window.smuggled.push('address of a script')"></script>
<img src="data:," onerror="window.smuggled.push('handler')">
<svg onload="window.smuggled.push('handler of a drawing')"></svg>
<iframe srcdoc="<script>parent.smuggled.push('frame')</script>"></iframe>
<a id="link" href="javascript:void window.smuggled.push('link')">link</a>
<base href="https://example.org/">
"""
RUN_LATER = """async () => {
    const put = (parent, html) => parent.insertAdjacentHTML('beforeend', html);
    put(document.body, `<img src="data:," onerror="window.smuggled.push('handler put in later')">`);
    const script = document.createElement('script');
    script.textContent = "window.smuggled.push('script made later')";
    document.head.append(script);
    document.getElementById('link').click();
    setTimeout(() => {  // not at once: what a debugger evaluates may use eval
        try {
            new Function("window.smuggled.push('function of a text')")();
        } catch (error) {
            window.refused = error.name;
        }
    });
    await new Promise((done) => setTimeout(done, 200));
}"""
WAYS = {
    "script", "address of a script", "handler", "handler of a drawing", "frame", "link", "handler put in later",
    "script made later", "function of a text",
}  # fmt: skip


def smuggled(browser: Browser, path: Path, content: str) -> tuple[Page, set[str]]:
    """Return a page with the markup in it, and the ways of running code that have worked there."""
    path.write_text(content.replace("<body>", "<body>" + MARKUP, 1), encoding="utf-8")
    page = browser.new_page(viewport={"width": 1366, "height": 768})
    page.add_init_script("window.smuggled = []")
    page.goto(path.as_uri())
    page.evaluate("window.lopReport.ready")
    page.evaluate(RUN_LATER)
    return page, set(page.evaluate("window.smuggled"))


def test_code_that_was_smuggled_in_does_not_run(browser: Browser, made_file: Path, tmp_path: Path) -> None:
    page, ran = smuggled(browser, tmp_path / "report.html", made_file.read_text(encoding="utf-8"))
    assert ran == set()
    assert page.evaluate("window.refused") == "EvalError"
    assert page.evaluate("document.baseURI").startswith("file:")
    assert page.locator("#plot .heatmaplayer image").count() > 0, "the page's own scripts run"
    page.close()


def test_without_the_policy_all_of_it_would_run(browser: Browser, made_file: Path, tmp_path: Path) -> None:
    page, ran = smuggled(browser, tmp_path / "report.html", POLICY.sub("", made_file.read_text(encoding="utf-8")))
    assert ran == WAYS
    page.close()


@pytest.mark.parametrize("unsafe", ["'unsafe-inline'", "'unsafe-eval'", "'unsafe-hashes'", "*", "http", "data:"])
def test_policy_allows_listed_scripts_only(made_file: Path, unsafe: str) -> None:
    (policy,) = POLICY.findall(made_file.read_text(encoding="utf-8"))
    rules = dict(criterion.split(" ", 1) for criterion in policy.split("; "))
    assert rules["default-src"] == "'none'"
    assert unsafe not in rules["script-src"]
    assert all(source.startswith("'sha256-") for source in rules["script-src"].split())
