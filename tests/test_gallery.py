"""The gallery's page has the numbers that its script computes, and its verdicts follow from the published losses."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
from scipy.stats import fisher_exact

from lop_sweep.planning import load_space

FOLDER = Path(__file__).parents[1] / "docs" / "gallery"


@pytest.fixture(scope="module")
def gallery() -> ModuleType:
    spec = importlib.util.spec_from_file_location("gallery", FOLDER / "gallery.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_every_number_of_the_page_is_computed(gallery: ModuleType) -> None:
    assert gallery.PAGE.read_text() == gallery.page()


def test_the_readme_has_the_gallerys_numbers(gallery: ModuleType) -> None:
    facts = gallery.depths(gallery.read("depth_lr_delta"))
    text = " ".join((FOLDER.parents[1] / "README.md").read_text().split())
    assert f"{facts['same_lost']} of {facts['same']} networks with 1 to 3 layers lost plasticity" in text
    assert f"{facts['deep_lost']} of {facts['deep']} with 8" in text


@pytest.mark.parametrize("name", ["depth_lr_delta", "delta_sigma"])
def test_the_published_cells_are_those_of_the_search_space(gallery: ModuleType, name: str) -> None:
    assert sorted(gallery.read(name)["cell"]) == sorted(cell.id for cell in load_space(name).cells)


def test_verdicts_follow_from_the_published_losses(gallery: ModuleType) -> None:
    """By hand, with SciPy's test and bound, for every 20th network."""
    scored = gallery.read("depth_lr_delta")
    for _, group in list(scored.groupby(["depth", "lr", "delta"]))[::9]:
        pool = np.concatenate(group["fresh_ce"].to_list())
        limit = max(np.median(pool) + 0.1, 1.5 * np.median(pool))
        fresh = int((pool > limit).sum())
        for _, cell in group.iterrows():
            if cell["verdict"] not in ("lost", "plastic", "undecided"):
                assert np.median(pool) >= np.log(2)
                continue
            late = int((cell["late_losses"] > limit).sum())
            p = fisher_exact([[late, 25 - late], [fresh, len(pool) - fresh]], alternative="greater").pvalue
            lost = p < 0.01 and late / 25 - fresh / len(pool) >= 0.1
            assert (cell["verdict"] == "lost") == lost
            assert cell["late_failure_rate"] == late / 25


def test_pretended_networks_are_lost_as_often_as_the_test_allows(gallery: ModuleType) -> None:
    rng = np.random.default_rng(1)
    pool = np.where(rng.random(160) < 0.3, rng.lognormal(0, 1, 160) + 0.5, 0.01 * rng.random(160))
    by_rate, by_mean = gallery.null_rates(pool, rng)
    assert by_rate <= 0.01 + 3 * np.sqrt(0.01 * 0.99 / gallery.NULL_DRAWS)
    assert by_mean > 0.1


def test_pairs_within_points_are_compared(gallery: ModuleType) -> None:
    """Lost networks are below plastic ones within every point, though not across points."""
    import pandas as pd

    rows = [
        (depth, 0.1, verdict, 10 * depth + (verdict == "plastic") + 0.1 * seed)
        for depth in (1, 2, 3)
        for verdict in ("lost", "plastic")
        for seed in range(4)
    ]
    frame = pd.DataFrame(rows, columns=["depth", "lr", "verdict", "late_x"])
    share, p, points = gallery.stratified(frame, "late_x")
    assert (share, points) == (1.0, 3)
    assert p < 0.001
    assert gallery.stratified(frame[frame["verdict"] == "lost"], "late_x")[2] == 0
