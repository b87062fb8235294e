"""The gallery's page has the numbers that its script computes, and its verdicts follow from the published losses."""

from __future__ import annotations

from pathlib import Path

import changes
import edge
import gallery
import mitigation_sweeps
import numpy as np
import pandas as pd
import pytest
from scipy.stats import fisher_exact

import analysis
from lop_sweep.errors import AnalysisError
from lop_sweep.planning import load_space

FOLDER = Path(__file__).parents[1] / "docs" / "gallery"


def test_every_number_of_the_page_is_computed() -> None:
    assert gallery.PAGE.read_text() == gallery.page()


@pytest.mark.parametrize("name", changes.PAGES)
def test_every_number_of_the_other_pages_is_computed(name: str) -> None:
    assert (FOLDER / f"{name}.md").read_text() == changes.page(name)


def test_every_number_of_the_page_on_three_axes_is_computed() -> None:
    assert (FOLDER / "refinement.md").read_text() == edge.page()


def test_the_cells_of_the_page_on_three_axes_are_of_its_space() -> None:
    cells = edge.read()
    space = load_space(FOLDER / "fine_edge.py", lattice=edge.RESOLUTION)
    known = {(cell.depth, cell.lr, cell.delta, cell.seed) for cell in space.cells}
    assert set(cells[["depth", "lr", "delta", "seed"]].itertuples(index=False, name=None)) <= known
    assert len(cells) == 240


def test_the_readme_has_the_gallerys_numbers() -> None:
    facts = gallery.depths(gallery.read("depth_lr_delta"))
    text = " ".join((FOLDER.parents[1] / "README.md").read_text().split())
    assert f"{facts['same_lost']} of {facts['same']} networks with 1 to 3 layers lost plasticity" in text
    assert f"{facts['deep_lost']} of {facts['deep']} with 8" in text


@pytest.mark.parametrize(
    ("name", "axes", "value"),
    [
        ("depth_lr_delta", ("lr", "depth"), "failure_rate"), ("delta_sigma", ("delta", "sigma"), "lost"),
        ("float32", ("lr", "tasks"), "lost"), ("optimizers", ("lr", "optimizer"), "failure_rate"),
        ("mitigations", ("lr", "depth"), "lost"),
    ],
)  # fmt: skip
def test_published_scores_can_be_drawn(name: str, axes: tuple[str, str], value: str) -> None:
    """Fields that are newer than the files have their defaults."""
    scores = pd.read_parquet(FOLDER / f"{name}.parquet")
    if name == "mitigations":
        scores = scores[scores["change"] == "redo"]
    figure = analysis.plot_map(scores, *axes, value, surface="counts")
    assert f"{len(scores):,} cells" in figure.get_label()


def test_scores_without_a_field_in_which_cells_differ_are_refused() -> None:
    scores = pd.read_parquet(FOLDER / "optimizers.parquet")
    with pytest.raises(AnalysisError, match=r"another one with the same configuration: it lacks a field .* optimizer"):
        analysis.plot_map(scores.drop(columns="optimizer"), "lr", "depth")


@pytest.mark.parametrize("name", ["depth_lr_delta", "delta_sigma"])
def test_the_published_cells_are_those_of_the_search_space(name: str) -> None:
    assert sorted(gallery.read(name)["cell"]) == sorted(cell.id for cell in load_space(name).cells)


def test_the_published_cells_are_those_of_the_search_space_of_optimizers() -> None:
    """All cells, but for the two Muons only those at three learning rates, as the page says."""
    published = set(changes.read("optimizers")["cell"])
    cells = {cell.id: cell for cell in load_space("optimizers").cells}
    assert published <= set(cells)
    missing = [cells[one] for one in set(cells) - published]
    assert all("muon" in cell.optimizer and cell.lr not in (0.01, 0.05, 0.3) for cell in missing)


def test_each_mitigation_is_mapped_at_the_strength_with_the_fewest_failures() -> None:
    strengths = pd.read_csv(FOLDER / "strengths.csv", keep_default_na=False)
    published = changes.read("mitigations")
    assert not set(mitigation_sweeps.TRIED["seed"]) & set(published["seed"])
    for name, group in strengths.groupby("change"):
        (chosen,) = group.index[group["chosen"]]
        assert group["unfit"][chosen] > 0 or group["failures"][chosen] == group["failures"].min()
        candidates = mitigation_sweeps.CANDIDATES[name]
        (change,) = (one for one in candidates if changes.strength_text(one) == group["strength"][chosen])
        cells = {cell.id for cell in mitigation_sweeps.cells([change], mitigation_sweeps.MAPPED)}
        assert set(published["cell"][published["change"] == name]) == cells


def test_unfit_networks_count_as_failures_when_strengths_are_compared() -> None:
    """Of two strengths, the one whose networks never learn loses although it has no late failures."""
    few, many = mitigation_sweeps.CANDIDATES["l2_init"][:2]
    rows = [
        {"cell": cell.id, "verdict": verdict, "late_failure_rate": rate}
        for changes_, verdict, rate in (
            ([few], "untrainable", 0.0),
            ([many], "plastic", 0.1),
            ([one for found in mitigation_sweeps.CANDIDATES.values() for one in found], "plastic", 0.2),
        )
        for cell in mitigation_sweeps.cells(changes_, mitigation_sweeps.TRIED)
    ]
    scored = pd.DataFrame(rows).drop_duplicates("cell")
    assert mitigation_sweeps.best(scored)["l2_init"] == many


def test_p_values_are_adjusted_by_holms_method() -> None:
    adjusted = changes.holm_adjusted(np.array([0.04, 0.01, 0.03, 0.5]))
    np.testing.assert_allclose(adjusted, [0.09, 0.04, 0.09, 0.5])


def test_verdicts_follow_from_the_published_losses() -> None:
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


def test_pretended_networks_are_lost_as_often_as_the_test_allows() -> None:
    rng = np.random.default_rng(1)
    pool = np.where(rng.random(160) < 0.3, rng.lognormal(0, 1, 160) + 0.5, 0.01 * rng.random(160))
    by_rate, by_mean = gallery.null_rates(pool, rng)
    assert by_rate <= 0.01 + 3 * np.sqrt(0.01 * 0.99 / gallery.NULL_DRAWS)
    assert by_mean > 0.1


def test_pairs_within_points_are_compared() -> None:
    """Lost networks are below plastic ones within every point, though not across points."""
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
