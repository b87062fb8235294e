"""Saved figures: what is in their metadata, and that fonts are in them."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pandas as pd
import pytest
from matplotlib.figure import Figure
from PIL import Image

import lop_sweep
from analysis.data.load import load_cells
from analysis.plot.save import provenance, save_figure
from analysis.scoring.table import score
from lop_sweep.errors import AnalysisError, StoreError


@pytest.fixture
def figure() -> Figure:
    figure = Figure(layout="constrained")
    figure.add_subplot().set_title("Grüße")
    figure.suptitle("A title\nin two lines")
    return figure


def test_provenance_has_sweep_criterion_seeds_and_version(store_dir: Path) -> None:
    made = provenance(score(store_dir, where={"depth": [1.0, 2.0]}, margin=0.2))
    assert (made["sweep"], made["cells"], made["seeds"], made["dtype"]) == ("here", 24, "2", "float64")
    assert made["rule"]["margin"] == 0.2
    assert "0.2 nats" in made["rule_in_words"]
    assert made["where"] == {"depth": [1.0, 2.0]}
    assert made["lop_sweep_version"] == lop_sweep.__version__
    assert "rule" not in provenance(load_cells(store_dir).iloc[:0])


def test_a_png_carries_it(figure: Figure, tmp_path: Path) -> None:
    save_figure(figure, tmp_path / "a.png", {"sweep": "small", "seeds": "3"})
    with Image.open(tmp_path / "a.png") as image:
        assert json.loads(image.text["Description"]) == {"sweep": "small", "seeds": "3"}
        assert image.text["Title"] == "A title in two lines"
        assert image.text["Software"] == f"lop-sweep {lop_sweep.__version__}"


def test_the_label_of_a_figure_is_its_full_caption(figure: Figure, tmp_path: Path) -> None:
    figure.set_label("all of it\nin two lines")
    save_figure(figure, tmp_path / "a.png", {"sweep": "small"})
    with Image.open(tmp_path / "a.png") as image:
        assert json.loads(image.text["Description"])["caption"] == ["all of it", "in two lines"]


def test_a_pdf_carries_it_and_its_fonts(figure: Figure, tmp_path: Path) -> None:
    save_figure(figure, tmp_path / "a.pdf", {"sweep": "small"})
    content = (tmp_path / "a.pdf").read_bytes()
    assert b'{\\"sweep\\": \\"small\\"}' in content or b'{"sweep": "small"}' in content
    assert b"/FontFile2" in content  # an embedded TrueType font
    assert b"/Type3" not in content


def test_an_svg_carries_it_and_needs_no_font(figure: Figure, tmp_path: Path) -> None:
    save_figure(figure, tmp_path / "a.svg", {"sweep": "small"})
    content = (tmp_path / "a.svg").read_text()
    description = re.search(r"<dc:description>(.*?)</dc:description>", content)
    assert description
    assert "small" in description[1]
    assert "<text" not in content
    save_figure(figure, tmp_path / "b.svg", {"sweep": "small"})
    assert (tmp_path / "b.svg").read_text() == content


def test_bad_paths_leave_nothing(figure: Figure, tmp_path: Path) -> None:
    with pytest.raises(AnalysisError, match=r"must end with \.png, \.pdf, \.svg"):
        save_figure(figure, tmp_path / "a.gif", {})
    with pytest.raises(StoreError, match="cannot be written"):
        save_figure(figure, tmp_path / "no" / "a.png", {})
    assert list(tmp_path.iterdir()) == []


def test_provenance_needs_the_directory(store_dir: Path, tmp_path: Path) -> None:
    cells = load_cells(store_dir)
    with pytest.raises(AnalysisError, match="must say its directory in `attrs`"):
        provenance(pd.DataFrame(cells.to_dict("list")))
    cells.attrs["directory"] = str(tmp_path)
    with pytest.raises(StoreError, match=r"holds no sweep\.json"):
        provenance(cells)
