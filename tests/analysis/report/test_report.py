"""The report's file without a browser: its content, its size, and invalid input."""

from __future__ import annotations

import base64
import gzip
import itertools
import json
import re
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from made_store import losing, write_store

from analysis.data import load_tasks
from analysis.report import sequences as report_sequences
from analysis.report.axes import map_fields
from analysis.report.data import collect
from analysis.report.encoding import block_means, pack_arrays, stride, to_bfloat16
from analysis.report.write import json_in_script, write_report
from analysis.scoring import LossCriterion, score
from lop_sweep.config import FIELDS, CellConfig
from lop_sweep.errors import AnalysisError, LopSweepError, StoreError

FORMATS = {"f8": "<f8", "f4": "<f4", "u4": "<u4", "i4": "<i4", "u2": "<u2", "u1": "u1"}


@pytest.fixture(scope="module")
def page(store_dir: Path, tmp_path_factory: pytest.TempPathFactory) -> str:
    path = tmp_path_factory.mktemp("report") / "report.html"
    write_report(store_dir, path)
    return path.read_text()


def elements(page: str) -> list[tuple[str, dict[str, str | None]]]:
    found: list[tuple[str, dict[str, str | None]]] = []

    class Collector(HTMLParser):
        def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
            found.append((tag, dict(attrs)))

    Collector().feed(page)
    return found


def content(page: str, name: str) -> str:
    match = re.search(rf'<script type="[^"]*" id="{name}">(.*?)</script>', page, re.DOTALL)
    assert match
    return match[1]


def decode(page: str) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    about = json.loads(content(page, "about"))
    return about, unpack(about["arrays"], content(page, "arrays"))


def unpack(directory: list[dict[str, Any]], packed: str) -> dict[str, np.ndarray]:
    raw = gzip.decompress(base64.b64decode(packed))
    arrays = {}
    for entry in directory:
        start, length, is_bfloat16 = entry["offset"], entry["length"], entry["format"] == "bf16"
        array = np.frombuffer(raw, "<u2" if is_bfloat16 else FORMATS[entry["format"]], length, start)
        arrays[entry["name"]] = (array.astype(np.uint32) << 16).view(np.float32) if is_bfloat16 else array
    return arrays


def test_file_needs_nothing_but_itself(page: str):
    loaded = [
        attributes[name]
        for _, attributes in elements(page)
        for name in ("src", "href", "srcset", "action")
        if attributes.get(name)
    ]
    assert loaded == ["data:,"]
    assert "@import" not in page
    assert "url(" not in page
    assert "fetch(" not in page


def test_arrays_are_what_the_scores_say(page: str, store_dir: Path):
    about, arrays = decode(page)
    ids = [bytes(cell).hex() for cell in arrays["id"].reshape(-1, 8)]
    scored = score(store_dir).set_index("cell").loc[ids]
    assert len(ids) == about["cells"] == 24
    for name in (
        "late_final_ce",
        "late_effective_rank",
        "early_saturation",
        "fresh_mean_ce",
        "late_ce",
        "slope_low",
        "area_excess",
    ):
        np.testing.assert_array_equal(arrays[name], scored[name])
    for field in about["fields"]:
        values = np.array(field["values"])[arrays[f"field.{field['name']}"]]
        np.testing.assert_array_equal(values, scored[field["name"]])
    assert [about["seeds"][index] for index in arrays["seed"]] == [str(seed) for seed in scored["seed"]]
    tasks = load_tasks(store_dir).set_index(["cell", "task"])
    rows = [(cell, task) for cell in ids for task in range(1, 9)]
    np.testing.assert_array_equal(arrays["loss"], tasks.loc[rows, "end_ce"])
    np.testing.assert_array_equal(arrays["curve.saturation"], tasks.loc[rows, "saturation"].astype(np.float32))
    layers = np.concatenate(list(tasks.loc[rows, "effective_rank"])).astype(np.float32)
    np.testing.assert_array_equal(arrays["layer.effective_rank"], layers)


def test_bfloat16_is_near_and_keeps_infinities():
    values = np.array([0.0, 1.0, -2.5, 1e-30, 3.14159, 1e300, np.inf, -np.inf, np.nan, 2.0**-126])
    (entry,), packed = pack_arrays({"values": to_bfloat16(values)})
    found = unpack([entry], packed)["values"].astype(float)
    assert found[5:8].tolist() == [np.inf, np.inf, -np.inf]
    assert np.isnan(found[8])
    finite = [0, 1, 2, 3, 4, 9]
    np.testing.assert_allclose(found[finite], values[finite], rtol=0.004)


@pytest.mark.parametrize(("tasks", "blocks"), [(7, 3), (8, 4), (5, 20), (1, 1), (100, 20)])
def test_blocks_hold_every_task_once(tasks: int, blocks: int):
    values = np.random.default_rng(0).normal(size=(2, tasks, 3))
    means = block_means(values, blocks)
    step = stride(tasks, blocks)
    assert means.shape[1] <= blocks
    for block in range(means.shape[1]):
        expected = values[:, block * step : (block + 1) * step].mean(axis=1)
        np.testing.assert_allclose(means[:, block], expected)


def test_fields_with_many_values_are_binned():
    lrs = np.geomspace(1e-3, 1, 200)
    cells = pd.DataFrame([CellConfig(lr=lr, depth=1 + index % 2).model_dump() for index, lr in enumerate(lrs)])
    depth, lr = map_fields(cells)
    assert (depth.name, depth.binned, depth.values) == ("depth", False, [1.0, 2.0])
    assert (lr.name, lr.binned, lr.scale, len(lr.values)) == ("lr", True, "log", 20)
    position = lr.indices_of(cells)
    assert (np.bincount(position) == 10).all()
    assert (np.log10(lrs) >= np.array(lr.edges)[position] - 1e-9).all()


def test_few_varying_fields_leave_two_axes():
    fields = map_fields(pd.DataFrame([CellConfig(lr=lr).model_dump() for lr in (0.1, 0.2)]))
    assert [(field.name, len(field.values)) for field in fields] == [("lr", 2), ("depth", 1)]


def test_million_rows_fit_into_fifteen_megabytes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Scaled down by ten: 1,000 cells of 100 tasks under a tenth of the limits."""
    for name in ("MAX_EXACT_ROWS", "MAX_CURVE_VALUES", "MAX_LAYER_VALUES"):
        monkeypatch.setattr(report_sequences, name, getattr(report_sequences, name) // 10)
    axes = itertools.product((1, 3, 5, 8), (0.1, 0.2, 0.4, 0.8, 1.6), range(50))
    cells = [CellConfig(depth=depth, lr=lr, seed=seed) for depth, lr, seed in axes]
    write_store(tmp_path / "sweep", cells, losing)
    data = collect(tmp_path / "sweep", LossCriterion())
    assert data.about["resolution"] == {"loss": 0, "curves": 20, "layers": 9, "exact": False}
    _, packed = pack_arrays(data.arrays)
    assert len(packed) < 1_250_000


def test_flags_of_every_field_are_those_of_the_command(page: str):
    from lop_sweep.cli import make_parser

    about, _ = decode(page)
    values = CellConfig(seed=2**62 + 1, depth=2, lr=1e-7, delta=-0.5, steps=3, fresh_steps=9).model_dump()
    assert [field["name"] for field in about["config"]] == list(FIELDS)
    words = [f"--{name}={value}" for name, value in values.items()]
    options = vars(make_parser().parse_args(["run", *words]))
    assert CellConfig(**{name: options[name] for name in FIELDS}) == CellConfig(**values)


def test_text_from_the_store_cannot_break_out(tmp_path: Path):
    name = "</script><script>alert(1)</script>{{about}}<!--&amp;\u2028"
    write_store(tmp_path / "sweep", [CellConfig(tasks=2, depth=1)], losing, name=name)
    write_report(tmp_path / "sweep", tmp_path / "report.html")
    page = (tmp_path / "report.html").read_text()
    assert "<script>alert" not in page
    assert decode(page)[0]["space"] == name
    assert page.count('id="about"') == 1
    assert len([tag for tag, _ in elements(page) if tag == "script"]) == page.count("</script>")


def test_json_in_a_script_ends_it_nowhere():
    text = json_in_script({"a": "</script><!-- & <script>"})
    assert not set("<>&") & set(text)
    assert json.loads(text) == {"a": "</script><!-- & <script>"}


def test_empty_sweep_is_refused(tmp_path: Path):
    write_store(tmp_path, [], losing, missing=[CellConfig()])
    with pytest.raises(AnalysisError, match="no finished cell") as caught:
        write_report(tmp_path, tmp_path / "report.html")
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "report.html").exists()


def test_no_sweep_directory_is_refused(tmp_path: Path):
    with pytest.raises(StoreError):
        write_report(tmp_path / "nothing", tmp_path / "report.html")


def test_condition_that_no_cell_fulfils_is_refused(store_dir: Path, tmp_path: Path):
    with pytest.raises(AnalysisError, match="depth"):
        write_report(store_dir, tmp_path / "report.html", where={"depth": [77]})


def test_where_chooses_cells(store_dir: Path, tmp_path: Path):
    write_report(store_dir, tmp_path / "report.html", where={"depth": [2], "lr": [0.05, 0.2]})
    about, _ = decode((tmp_path / "report.html").read_text())
    assert (about["cells"], about["missing"]) == (8, 0)
    assert [field["name"] for field in about["fields"]] == ["lr", "delta"]


def test_unfinished_cells_are_known(tmp_path: Path):
    cells = [CellConfig(tasks=2, depth=1, lr=lr) for lr in (0.1, 0.2, 0.4)]
    write_store(tmp_path / "sweep", cells[:2], losing, missing=cells[2:])
    write_report(tmp_path / "sweep", tmp_path / "report.html")
    about, arrays = decode((tmp_path / "report.html").read_text())
    assert (about["cells"], about["missing"]) == (2, 1)
    assert about["fields"][0]["values"] == [0.1, 0.2, 0.4]
    assert arrays["missing.lr"].tolist() == [2]


def test_onset_criterion_on_too_large_a_sweep_is_refused(
    store_dir: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr("analysis.report.sequences.MAX_FULL_ROWS", 10)
    with pytest.raises(AnalysisError, match=r"onset.*--where"):
        write_report(store_dir, tmp_path / "report.html", criterion=LossCriterion(definition="onset"))


def test_place_that_cannot_be_written_is_one_line(store_dir: Path, tmp_path: Path):
    with pytest.raises(LopSweepError, match="cannot be written") as caught:
        write_report(store_dir, tmp_path / "no" / "folder.html")
    assert "\n" not in str(caught.value)


def test_file_is_replaced_whole_and_nothing_is_left_beside_it(store_dir: Path, tmp_path: Path):
    out = tmp_path / "report.html"
    out.write_text("old")
    write_report(store_dir, out)
    assert out.read_text().startswith("<!DOCTYPE html>")
    assert list(tmp_path.iterdir()) == [out]


def test_same_store_gives_the_same_file(store_dir: Path, tmp_path: Path):
    for name in ("a", "b"):
        write_report(store_dir, tmp_path / name)
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()
