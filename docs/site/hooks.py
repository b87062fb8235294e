"""Hooks of the documentation site.

Pages link as they do in the repository. What they link to outside `docs/` becomes a page of the site: the README is its
front page, and a source file or a folder of them is shown as code. The notebook becomes a page, too. Built pages that
would load anything from another site are refused.
"""

from __future__ import annotations

import json
import posixpath
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from mkdocs.config.defaults import MkDocsConfig
    from mkdocs.structure.files import Files
    from mkdocs.structure.pages import Page

ROOT = Path(__file__).parents[2]
FRONT = {"README.md": "index.md", "CHANGELOG.md": "changelog.md", "docs/analysis.ipynb": "notebook.md"}
"""From paths in the repository to pages of the site."""
LANGUAGES = {".py": "python", ".toml": "toml", ".md": "markdown"}
LINK = re.compile(r"\]\(([^)\s#]+)(#[^)\s]*)?\)")
ASSET = re.compile(r"<(?:link|script|img|iframe|source)\b[^>]*?\b(?:href|src)=[\"']?((?:https?:)?//[^\"'\s>]+)")
IMAGE = re.compile(r'<img\b[^>]*?\bsrc="(?!data:)([^"]+)"[^>]*>')
UNLOADED = re.compile(r"<link\b[^>]*\brel=[\"']?(?:canonical|next|prev)\b[^>]*>")


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the pages that are made of files outside `docs/`."""
    from mkdocs.structure.files import File

    pages = [f"docs/{file.src_uri}" for file in files.documentation_pages()]
    for path, uri in FRONT.items():
        files.append(File.generated(config, uri, content=content_of(path)))
    linked = {target for page in [*pages, "README.md", "CHANGELOG.md"] for target in targets(page)}
    for path in sorted(path for path in linked if not path.startswith("docs/") and path not in FRONT):
        files.append(File.generated(config, site_uri(path), content=source_page(path)))
    return files


def on_page_markdown(markdown: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Turn links between files of the repository into links between pages of the site."""
    uri = page.file.src_uri
    origin = next((path for path, made in FRONT.items() if made == uri), f"docs/{uri}")

    def replace(match: re.Match[str]) -> str:
        target = resolve(origin, match[1])
        if target is None:
            return match[0]
        return f"]({posixpath.relpath(site_uri(target), posixpath.dirname(uri) or '.')}{match[2] or ''})"

    return LINK.sub(replace, markdown)


def on_page_content(html: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Link every picture to its file, so that a narrow screen can show it in full size."""
    return IMAGE.sub(r'<a class="picture" href="\1">\g<0></a>', html)


def on_post_build(config: MkDocsConfig) -> None:
    """Refuse a site that would load anything from another one."""
    from mkdocs.exceptions import PluginError

    for page in Path(config.site_dir).rglob("*.html"):
        found = external_assets(page.read_text(encoding="utf-8"))
        if found:
            raise PluginError(f"{page}: loads {found[0]}; keep assets in docs/")


def external_assets(html: str) -> list[str]:
    """Return the addresses at other sites from which a page loads something; links to click are none."""
    return ASSET.findall(UNLOADED.sub("", html))


def targets(path: str) -> set[str]:
    """Return what a page links to, as paths in the repository."""
    found = (resolve(path, match[1]) for match in LINK.finditer((ROOT / path).read_text(encoding="utf-8")))
    return {target for target in found if target is not None}


def resolve(path: str, link: str) -> str | None:
    """Return the path in the repository to which a page's link leads; None if there is no such file."""
    target = posixpath.normpath(posixpath.join(posixpath.dirname(path), link))
    return target if "://" not in link and not target.startswith("..") and (ROOT / target).exists() else None


def site_uri(path: str) -> str:
    """Return the source of the site's page for a path in the repository."""
    if path in FRONT:
        return FRONT[path]
    return path.removeprefix("docs/") if path.startswith("docs/") else f"source/{path}.md"


def content_of(path: str) -> str:
    """Return the Markdown of a page in `FRONT`."""
    text = (ROOT / path).read_text(encoding="utf-8")
    return notebook_page(json.loads(text)) if path.endswith(".ipynb") else text


def source_page(path: str) -> str:
    """Return a page that shows a text file, or all Python files of a folder."""
    place = ROOT / path
    files = sorted(place.glob("*.py")) if place.is_dir() else [place]
    lines = ["---", "search:", "  exclude: true", "---", f"# `{path}`", ""]
    for file in files:
        if place.is_dir():
            lines += [f"## `{file.name}`", ""]
        lines += [fenced(file.read_text(encoding="utf-8"), LANGUAGES.get(file.suffix, "text")), ""]
    return "\n".join(lines)


def notebook_page(notebook: dict[str, Any]) -> str:
    """Return a notebook with its outputs as Markdown."""
    parts = []
    for cell in notebook["cells"]:
        source = "".join(cell["source"])
        parts.append(source if cell["cell_type"] == "markdown" else fenced(source, "python"))
        parts += [output_text(output) for output in cell.get("outputs", [])]
    return "\n\n".join(parts)


def output_text(output: dict[str, Any]) -> str:
    """Return an output of a notebook as Markdown: a figure, a table, or text."""
    data = output.get("data", {})
    if "image/png" in data:
        picture = "".join(data["image/png"]).replace("\n", "")
        return f'<img alt="Output of the code above" src="data:image/png;base64,{picture}">'
    if "text/html" in data:
        table = re.sub(r"<style.*?</style>", "", "".join(data["text/html"]), flags=re.DOTALL)
        lines = filter(str.strip, table.splitlines())  # an empty line would end the block
        return "\n".join(['<div class="wide">', *lines, "</div>"])
    return fenced("".join(data.get("text/plain", output.get("text", ""))), "text")


def fenced(text: str, language: str) -> str:
    """Return a block of code that may itself contain three backticks."""
    return f"``````{language}\n{text.rstrip()}\n``````"
