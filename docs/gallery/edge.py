"""Make the gallery's page on a boundary over three axes: publish what it needs of the refined sweep, and write it.

    python docs/gallery/edge.py publish FINE_EDGE
    python docs/gallery/edge.py write

`publish` reads the sweep directory. `write` needs the published file only: it computes every number of the page and
draws its figure.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from string import Template

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from formatting import percent, table
from matplotlib.ticker import NullFormatter

import analysis
from analysis.surface import Boundary, Surface, boundary_band, fit_surface
from lop_sweep.planning import Sizing, load_space

HERE = Path(__file__).parent
AXES = ["depth", "lr", "delta"]
RESOLUTION = 65
COLOURS = {"lost": "#8f2d0a", "plastic": "#1f5a94", "undecided": "#8aa9c4"}


def publish(directory: str) -> None:
    """Write one row per cell: its point, seed, verdict and seconds."""
    cells = analysis.load_cells(directory).set_index("cell")
    scored = analysis.score(directory)
    kept = scored[["cell", *AXES, "seed", "tasks", "width", "late_failures", "late_tasks", "fresh_networks", "verdict"]]
    kept = kept.assign(seconds=cells["seconds"].reindex(scored["cell"]).to_numpy())
    kept.attrs = {}
    kept.sort_values([*AXES, "seed"]).to_parquet(HERE / "fine_edge.parquet", index=False)


def read() -> pd.DataFrame:
    """Read the published file."""
    return pd.read_parquet(HERE / "fine_edge.parquet")


def judged(cells: pd.DataFrame) -> pd.DataFrame:
    """Return the cells that can have lost plasticity."""
    return cells[cells["verdict"].isin(COLOURS)]


def fit(cells: pd.DataFrame) -> Surface:
    """Fit P(lost) over all three axes."""
    known = judged(cells)
    return share_of(known, known["verdict"] == "lost")


def fit_untrainable(cells: pd.DataFrame) -> Surface:
    """Fit the share of cells that cannot have lost plasticity."""
    return share_of(cells, ~cells["verdict"].isin(COLOURS))


def share_of(cells: pd.DataFrame, counted: pd.Series) -> Surface:
    """Fit the share of cells that count, with seeds as clusters."""
    return fit_surface(
        cells[AXES], counted, np.ones(len(cells)), clusters=cells["seed"], scales=("linear", "log", "linear")
    )


def slice_at(
    surface: Surface, untrainable: Surface, cells: pd.DataFrame, delta: float
) -> tuple[np.ndarray, np.ndarray, Boundary]:
    """Return depths, learning rates and the boundary over them at a separation."""
    depths = np.linspace(cells["depth"].min(), cells["depth"].max(), 25)
    rates = np.geomspace(cells["lr"].min(), cells["lr"].max(), 97)
    return depths, rates, boundary_band(surface, [depths, rates, [delta]], excluded=untrainable)


def first_rate(surface: Surface, cells: pd.DataFrame, depth: float, delta: float) -> str:
    """Return the lowest learning rate at which the most probable P(lost) is 1/2 at a depth, with the band around it."""
    rates = np.geomspace(cells["lr"].min(), cells["lr"].max(), 193)
    found = boundary_band(surface, [[depth], rates, [delta]])
    above = np.flatnonzero(found.rate >= 0.5)
    if not len(above):
        return f"possible from {found.intervals[0][0]:.2g}" if len(found.intervals) else "not reached"
    at = rates[above[0]]
    low, high = next((one for one in found.intervals if one[0] <= at <= one[1]), (at, at))
    return f"{at:.2g} ({low:.2g} to {high:.2g})"


def figure(cells: pd.DataFrame) -> plt.Figure:
    """Draw a panel per separation: the cells as dots, the boundary, and its band."""
    surface, untrainable = fit(cells), fit_untrainable(cells)
    deltas = sorted(cells["delta"].unique())
    drawn, axes = plt.subplots(2, 3, figsize=(9, 6), sharex=True, sharey=True, layout="constrained")
    for panel, delta in zip(axes.flat, deltas, strict=True):
        depths, rates, found = slice_at(surface, untrainable, cells, delta)
        panel.contourf(rates, depths, found.band.astype(float), levels=[0.5, 1.5], colors=["#dddddd"])
        rate = np.where(found.left_out, np.nan, found.rate)
        panel.contour(rates, depths, rate, levels=[0.5], colors="black", linewidths=1.2)
        for verdict, colour in COLOURS.items():
            some = cells[(cells["delta"] == delta) & (cells["verdict"] == verdict)]
            shifted = some["depth"] + 0.06 * (some["seed"] - 3.5)
            panel.scatter(some["lr"], shifted, s=9, color=colour, label=verdict, zorder=3)
        others = cells[(cells["delta"] == delta) & ~cells["verdict"].isin(COLOURS)]
        panel.scatter(
            others["lr"], others["depth"], s=14, marker="x", color="black", lw=0.8, label="untrainable", zorder=3
        )
        panel.set_xscale("log")
        panel.set_xticks([0.1, 0.3, 1, 3], labels=["0.1", "0.3", "1", "3"])
        panel.xaxis.set_minor_formatter(NullFormatter())
        panel.set_title(f"delta = {delta:g}", fontsize=10)
    for panel in axes[:, 0]:
        panel.set_ylabel("depth (hidden layers)")
    for panel in axes[1]:
        panel.set_xlabel("learning rate")
    handles, labels = axes.flat[-1].get_legend_handles_labels()
    drawn.legend(handles, labels, loc="outside lower center", ncols=4, frameon=False)
    return drawn


def page() -> str:
    """Return the page."""
    cells = read()
    surface = fit(cells)
    space = load_space(HERE / "fine_edge.py", lattice=RESOLUTION).cells
    deltas, depths = sorted(cells["delta"].unique()), sorted(cells["depth"].unique())
    mean = cells.groupby("depth")["seconds"].mean()
    share = {depth: sum(cell.depth == depth for cell in space) for depth in depths}
    sizing = Sizing(dtype="float32")
    model = {cell.depth: sizing.seconds_left(cell, 0, 0, 1) for cell in space}
    known = [depth for depth in depths if depth in mean.index]
    factor = float(np.mean([mean[depth] / model[depth] for depth in known]))
    dense = sum(share[depth] * model[depth] for depth in depths) * factor
    seeds = cells.groupby(AXES).size()
    verdicts = cells["verdict"].value_counts()
    rows = [[str(depth), *(first_rate(surface, cells, depth, delta) for delta in deltas)] for depth in depths]
    return Template((HERE / "refinement.template.md").read_text()).substitute(
        cells=f"{len(cells):,}",
        space=f"{len(space):,}",
        share=percent(len(cells) / len(space), 1),
        points=f"{len(seeds):,}",
        one=f"{int((seeds == 1).sum()):,}",
        most=f"{int(seeds.max())}",
        seconds=f"{cells['seconds'].sum():,.0f}",
        hours=f"{dense / 3600:,.0f}",
        verdicts=", ".join(f"{count} {name}" for name, count in verdicts.items()),
        boundary=table(["hidden layers", *(f"delta {delta:g}" for delta in deltas)], rows),
    )


def main() -> None:
    """Publish or write."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    commands = parser.add_subparsers(dest="command", required=True)
    commands.add_parser("publish").add_argument("directory")
    commands.add_parser("write")
    arguments = parser.parse_args()
    if arguments.command == "publish":
        publish(arguments.directory)
    else:
        (HERE / "refinement.md").write_text(page())
        figure(read()).savefig(HERE / "fine_edge.png", dpi=110, bbox_inches="tight")


if __name__ == "__main__":
    main()
