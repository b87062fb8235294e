"""Make the gallery's pages on what moves the boundary: publish what they need of their sweeps, and write them.

    python docs/gallery/changes.py publish optimizers OPTIMIZERS
    python docs/gallery/changes.py publish mitigations STRENGTHS CHOSEN
    python docs/gallery/changes.py publish regression SLOWLY_CHANGING_REGRESSION CONTINUAL_BACKPROP
    python docs/gallery/changes.py publish random_labels RANDOM_LABELS
    python docs/gallery/changes.py write

`publish` reads sweep directories and writes Parquet files, and the figures of the last two. `write` needs the published
files only: it draws the maps, fills the templates and writes the pages, every number of which is computed here. A test
compares the two.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Mapping
from pathlib import Path
from string import Template

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from formatting import interval, p_value, percent, points, table
from mitigation_sweeps import CANDIDATES, MAPPED, TRIED, Change, best, cells
from statsmodels.stats.multitest import multipletests

import analysis
from analysis import statistics
from analysis.scoring import wilson
from analysis.statistics.frames import t_interval
from lop_sweep.config import FIELDS

HERE = Path(__file__).parent
JUDGED = ("lost", "plastic", "undecided")
BIN = 2
"""Tasks per bin of slowly changing regression: 20,000 examples, as in the published figures."""
PUBLISHED: dict[tuple[str, float], tuple[float | None, float | None, tuple[float, float]]] = {
    ("relu", 0.01): (0.62, None, (1.2, 1.35)),
    ("relu", 0.003): (0.71, None, (1.08, 1.08)),
    ("relu", 0.001): (0.84, 0.72, (0.87, 0.87)),
    ("tanh", 0.01): (0.43, 0.39, (0.90, 0.90)),
    ("identity", 0.001): (None, None, (0.87, 0.88)),
    ("identity", 0.003): (None, None, (0.87, 0.88)),
    ("identity", 0.01): (None, None, (0.87, 0.88)),
}
"""First bin, minimum and last bin (a range), read off the figures of Dohare et al. to within 0.02."""

Facts = dict[str, str]


def read(name: str) -> pd.DataFrame:
    """Read a published file."""
    return pd.read_parquet(HERE / f"{name}.parquet")


def save(figure: plt.Figure, name: str) -> None:
    """Save a figure beside the pages."""
    figure.savefig(HERE / f"{name}.png", dpi=110, bbox_inches="tight")
    plt.close(figure)


def scores_of(directory: str) -> pd.DataFrame:
    """Return the configurations of a sweep, the scores that the pages need, and the seconds of each cell."""
    scored = analysis.score(directory)
    seconds = analysis.load_cells(directory).set_index("cell")["seconds"]
    kept = ["cell", *FIELDS, "late_tasks", "late_failures", "late_failure_rate"]
    kept += ["fresh_failure_rate", "late_ce", "fresh_median_ce", "late_end_ce", "verdict", "lost"]
    published = scored[kept].assign(seconds=seconds.reindex(scored["cell"]).to_numpy())
    published.attrs["directory"] = Path(directory).name
    return published


def share_lost(group: pd.DataFrame) -> tuple[int, int, float, float]:
    """Return the lost networks, those that can be judged, and the 95% interval of their share."""
    judged = group[group["verdict"].isin(JUDGED)]
    lost, n = int((judged["verdict"] == "lost").sum()), len(judged)
    low, high = wilson([lost], [n]) if n else ([np.nan], [np.nan])
    return lost, n, float(low[0]), float(high[0])


def lost_text(group: pd.DataFrame) -> str:
    """Return how many networks of a group are lost, with the interval of the share."""
    lost, n, low, high = share_lost(group)
    return f"{lost} of {n} ({percent(low)} to {percent(high)})" if n else "none can be judged"


def save_maps(name: str, y: str, scores: pd.DataFrame) -> None:
    """Draw the verdicts and the failure rates over learning rate and another field."""
    for value in ("lost", "failure_rate"):
        save(analysis.plot_map(scores, x="lr", y=y, value=value), f"{name}_{value}")


# Optimizers


def publish_optimizers(directory: str) -> None:
    """Write the scores over learning rate and optimizer."""
    scores_of(directory).to_parquet(HERE / "optimizers.parquet", index=False)


def optimizers() -> Facts:
    """Return the numbers of the page on optimizers."""
    scores = read("optimizers")
    names = ["sgd", "momentum", "adam", "adamw", "muon", "muon_simple_lop"]
    rates = sorted(scores["lr"].unique())

    def cell(name: str, lr: float) -> str:
        group = scores[(scores["optimizer"] == name) & (scores["lr"] == lr)]
        counts = group["verdict"].value_counts()
        lost, n, *_ = share_lost(group)
        other = [f"{counts[one]} {one}" for one in ("untrainable", "diverged") if one in counts]
        return ", ".join([f"{lost}/{n}"] * bool(n) + other)

    rows = [[name, *(cell(name, lr) for lr in rates)] for name in names]
    details = [
        [name, f"{lr:g}", lost_text(group), percent(group["late_failure_rate"].mean()),
         percent(group["fresh_failure_rate"].mean()), f"{group['late_end_ce'].median():.2g}",
         f"{group['fresh_median_ce'].median():.2g}"]
        for name, lr in (("sgd", 0.3), ("adam", 0.003), ("adamw", 0.003), ("muon", 0.05),
                         ("muon_simple_lop", 0.05))
        for group in [scores[(scores["optimizer"] == name) & (scores["lr"] == lr)]]
    ]  # fmt: skip
    heading = [
        "optimizer",
        "lr",
        "lost (95%)",
        "late failures",
        "fresh failures",
        "median CE, late",
        "median CE, fresh",
    ]
    return {
        "networks": f"{len(scores):,}",
        "seeds": str(scores["seed"].nunique()),
        "seconds": f"{scores['seconds'].sum():,.0f}",
        "counts": table(["optimizer", *(f"lr {lr:g}" for lr in rates)], rows),
        "claims": table(heading, details),
    }


# Mitigations


def publish_mitigations(strengths: str, chosen: str) -> None:
    """Write the failures of each strength, and the scores of the chosen ones."""
    scored = analysis.score(strengths)
    winners = best(scored)
    rows = []
    for name, changes in CANDIDATES.items():
        for change in changes:
            group = scored[scored["cell"].isin([cell.id for cell in cells([change], TRIED)])]
            counts = group["verdict"].value_counts()
            rows.append({
                "change": name, "strength": strength_text(change), "failures": group["late_failure_rate"].mean(),
                "fresh_failures": group["fresh_failure_rate"].mean(),
                "unfit": int(counts.get("untrainable", 0) + counts.get("diverged", 0)),
                "networks": len(group), "chosen": change == winners[name],
            })  # fmt: skip
    pd.DataFrame(rows).to_csv(HERE / "strengths.csv", index=False)
    scored = analysis.score(chosen)
    names = {cell.id: name for name, change in winners.items() for cell in cells([change], MAPPED)}
    published = scores_of(chosen).assign(change=scored["cell"].map(names).to_numpy())
    published.to_parquet(HERE / "mitigations.parquet", index=False)


def by_change() -> pd.DataFrame:
    """Return the published scores with the name of each change as its mitigation, the other changed fields as in none.

    So norm and weight decay are rows among the mitigations.
    """
    scores = read("mitigations")
    changed = {name for changes in CANDIDATES.values() for change in changes for name in change}
    plain = scores.assign(**{name: FIELDS[name].default for name in changed})
    plain["mitigation"] = scores["change"]
    plain.attrs = scores.attrs
    return plain


def strength_text(change: Change) -> str:
    """Return the hyperparameters of a change."""
    return ", ".join(f"{name} = {value:g}" for name, value in change.items() if not isinstance(value, str))


def mitigations() -> Facts:
    """Return the numbers of the page on mitigations."""
    strengths = pd.read_csv(HERE / "strengths.csv", keep_default_na=False)
    scores = read("mitigations")
    others = [name for name in FIELDS if name not in ("seed", "depth", "lr", "tasks")]
    scores = scores.drop(columns=others).rename(columns={"change": "mitigation"})  # layer norm is one of them
    none = scores[scores["mitigation"] == "none"]
    tried = [
        [row["change"], row["strength"], percent(float(row["failures"]), 1), percent(float(row["fresh_failures"]), 1),
         str(row["unfit"]), "yes" if row["chosen"] else ""]
        for _, row in strengths.iterrows() if row["change"] not in ("none", "fire", "layer_norm")
    ]  # fmt: skip
    compared = []
    for name in CANDIDATES:
        group = scores[scores["mitigation"] == name]
        if name == "none":
            continue
        found = statistics.compare(statistics.pair(none, group), np.random.default_rng(0)).set_index("statistic")
        compared.append((name, group, found))
    order = np.argsort([found.loc["failure rate", "estimate"] for _, _, found in compared])
    holm = holm_adjusted(np.array([found.loc["failure rate", "p"] for _, _, found in compared]))
    rows = [["none", lost_text(none), percent(none["late_failure_rate"].mean(), 1), "", "", "",
             f"{none['late_end_ce'].median():.2g}", f"{none['fresh_median_ce'].median():.2g}"]]  # fmt: skip
    for index in order:
        name, group, found = compared[index]
        rate, edge = found.loc["failure rate"], found.loc["edge in lr"]
        widest = none["lr"].max() / none["lr"].min()
        beyond = edge["estimate"] > widest
        shift = interval(*(f"{edge[side]:.2g}" for side in ("estimate", "low", "high")))
        rows.append([
            name, lost_text(group), percent(group["late_failure_rate"].mean(), 1),
            interval(*(points(rate[side]) for side in ("estimate", "low", "high"))), p_value(holm[index]),
            edge["reason"] if np.isnan(edge["estimate"]) else f"more than {widest:g}" if beyond else shift,
            f"{group['late_end_ce'].median():.2g}", f"{group['fresh_median_ce'].median():.2g}",
        ])  # fmt: skip
    depths = sorted(scores["depth"].unique())
    by_depth = [
        [name, *(f"{lost}/{n}" for depth in depths
                 for lost, n, *_ in [share_lost(scores[(scores["mitigation"] == name) & (scores["depth"] == depth)])])]
        for name in CANDIDATES
    ]  # fmt: skip
    return {
        "networks": f"{len(scores):,}",
        "tried_networks": f"{strengths['networks'].astype(int).sum():,}",
        "seconds": f"{scores['seconds'].sum():,.0f}",
        "tried": table(["change", "strength", "late failures", "fresh failures", "unfit", "chosen"], tried),
        "compared": table(
            ["change", "lost (95%)", "late failures", "difference to none, in points (95%)", "p",
             "edge in lr, factor (95%)", "median CE, late", "fresh"], rows),
        "unfit": str(int((~scores[scores["mitigation"] == "parseval"]["verdict"].isin(JUDGED)).sum())),
        "each": str(len(none)),
        "by_depth": table(["change", *(f"{depth} layers" for depth in depths)], by_depth),
    }  # fmt: skip


def holm_adjusted(p: np.ndarray) -> np.ndarray:
    """Return p values adjusted by Holm's method."""
    adjusted: np.ndarray = multipletests(p, method="holm")[1]
    return adjusted


# Slowly changing regression


def publish_regression(plain: str, replaced: str) -> None:
    """Write the binned errors of every run, and a figure."""
    frames = []
    for directory in (plain, replaced):
        tasks = analysis.load_tasks(directory).sort_values(["cell", "task"])
        rows = []
        for _, run in tasks.groupby("cell"):
            first = run.iloc[0]
            rate = first["replacement_rate"] if "replacement_rate" in run else 0.0
            errors = run["online_ce"].to_numpy().reshape(-1, BIN).mean(axis=1)
            rows.append((first["activation"], first["lr"], rate, first["seed"], errors.astype(np.float32)))
        frames.append(pd.DataFrame(rows, columns=["activation", "lr", "replacement_rate", "seed", "errors"]))
    pd.concat(frames, ignore_index=True).to_parquet(HERE / "regression.parquet", index=False)
    save(regression_figure(read("regression")), "regression")


def regression_figure(runs: pd.DataFrame) -> plt.Figure:
    """Draw mean errors with standard errors, and the published readings as circles."""
    figure, axes = plt.subplots(1, 4, figsize=(13, 3.4), sharey=True, layout="constrained")
    panels = {"relu": axes[0], "tanh": axes[1], "identity": axes[2]}
    for (activation, lr, rate), group in runs.groupby(["activation", "lr", "replacement_rate"]):
        plain = rate == 0
        axis = panels[activation] if plain else axes[3]
        mean, error = binned(group)
        examples = (np.arange(len(mean)) + 1) * 20_000
        (line,) = axis.plot(examples, mean, label=f"lr {lr:g}" if plain else f"{activation}, rate {rate:g}")
        axis.fill_between(examples, mean - error, mean + error, color=line.get_color(), alpha=0.25, lw=0)
        if plain and (reading := PUBLISHED.get((activation, lr))):
            first, _, last = reading
            for at, value in ((examples[0], first), (examples[-1], np.mean(last))):
                if value is not None:
                    axis.plot(at, value, "o", mfc="none", color=line.get_color(), clip_on=False)
    titles = ["ReLU", "tanh", "a linear learner", "continual backpropagation, lr 0.01"]
    for axis, title in zip(axes, titles, strict=True):
        axis.set(title=title, xlabel="examples")
        axis.legend(frameon=False)
    axes[0].set_ylabel("squared error, mean of 20,000 examples")
    return figure


def binned(group: pd.DataFrame) -> tuple[np.ndarray, np.ndarray]:
    """Return the mean error of each bin and its standard error over runs."""
    errors = np.stack(group["errors"].to_list()).astype(float)
    return errors.mean(axis=0), errors.std(axis=0, ddof=1) / np.sqrt(len(errors))


def regression() -> Facts:
    """Return the numbers of the page on slowly changing regression."""
    runs = read("regression")
    rows, away = [], []
    for (activation, lr), group in runs[runs["replacement_rate"] == 0].groupby(["activation", "lr"]):
        mean, error = binned(group)
        first, lowest, last = PUBLISHED.get((activation, lr), (None, None, None))
        low = int(mean.argmin())
        for ours, bounds, deviation in (
            (mean[0], (first, first), error[0]), (mean[low], (lowest, lowest), error[low]),
            (mean[-1], last or (None, None), error[-1]),
        ):  # fmt: skip
            if bounds[0] is not None:
                away.append((max(bounds[0] - ours, ours - bounds[1], 0.0), deviation))
        rows.append([
            activation, f"{lr:g}", str(len(group)), f"{mean[0]:.3f} ± {error[0]:.3f}", _reading(first),
            f"{mean[low]:.3f} ± {error[low]:.3f}", _reading(lowest), f"{mean[-1]:.3f} ± {error[-1]:.3f}",
            "" if last is None else " to ".join(dict.fromkeys(f"{value:.2f}" for value in last)),
        ])  # fmt: skip
    heading = ["activation", "lr", "runs", "first bin", "published", "lowest bin", "published", "last bin", "published"]
    distances = np.array([distance for distance, _ in away])
    return {
        "runs": f"{len(runs):,}",
        "errors": table(heading, rows),
        "readings": str(len(away)),
        "within": str(int((distances <= 0.05).sum())),
        "farthest": f"{distances.max():.2f}",
        "farthest_error": f"{away[int(distances.argmax())][1]:.3f}",
        "replaced": table(
            ["activation", "replacement rate", "runs", "first bin", "last bin", "last bin without it, same seeds",
             "difference (95%)"], [_replaced(runs, key, group) for key, group in _replacing(runs)]),
    }  # fmt: skip


def _reading(value: float | None) -> str:
    return "" if value is None else f"{value:.2f}"


def _replacing(runs: pd.DataFrame) -> list[tuple[tuple[str, float], pd.DataFrame]]:
    return list(runs[runs["replacement_rate"] > 0].groupby(["activation", "replacement_rate"]))


def _replaced(runs: pd.DataFrame, key: tuple[str, float], group: pd.DataFrame) -> list[str]:
    activation, rate = key
    plain = runs[(runs["activation"] == activation) & (runs["lr"] == 0.01) & (runs["replacement_rate"] == 0)]
    ours, theirs = (frame.set_index("seed")["errors"].map(lambda errors: errors[-1]) for frame in (group, plain))
    difference = (ours - theirs.reindex(ours.index)).to_numpy(float)
    mean, error = binned(group)
    return [
        activation, f"{rate:g}", str(len(group)),
        f"{mean[0]:.3f} ± {error[0]:.3f}", f"{mean[-1]:.3f} ± {error[-1]:.3f}",
        f"{theirs.reindex(ours.index).mean():.3f}", interval(*(f"{value:+.3f}" for value in mean_interval(difference))),
    ]  # fmt: skip


def mean_interval(values: np.ndarray) -> tuple[float, float, float]:
    """Return a mean with the 95% interval of Student's t."""
    return values.mean(), *t_interval(values.mean(), values.std(ddof=1) / np.sqrt(len(values)), len(values) - 1)


# Random labels


def publish_random_labels(directory: str) -> None:
    """Write accuracy and loss of every task, and a figure."""
    tasks = analysis.load_tasks(directory)
    kept = ["mitigation", "seed", "task", "online_accuracy", "online_ce", "end_ce", "start_ce"]
    tasks[kept].sort_values(kept[:3]).to_parquet(HERE / "random_labels.parquet", index=False)
    figure, axis = plt.subplots(figsize=(6, 3.4), layout="constrained")
    for mitigation, group in tasks.groupby("mitigation", sort=False):
        wide = group.pivot_table(index="task", columns="seed", values="online_accuracy")
        (line,) = axis.plot(wide.index, wide.mean(axis=1), label=label_of(mitigation))
        axis.fill_between(wide.index, wide.min(axis=1), wide.max(axis=1), color=line.get_color(), alpha=0.25, lw=0)
    axis.set(xlabel="task", ylabel="online accuracy")
    axis.xaxis.get_major_locator().set_params(integer=True)
    axis.legend(frameon=False)
    save(figure, "random_labels")


def label_of(mitigation: str) -> str:
    """Return how the page calls a condition."""
    return "Adam" if mitigation == "none" else "Adam with L2-init"


def random_labels() -> Facts:
    """Return the numbers of the page on random labels."""
    tasks = read("random_labels")
    last = int(tasks["task"].max())
    stretches = {f"tasks {start} to {stop}": (start, stop) for start, stop in ((1, 5), (last - 4, last))}
    means = {
        name: tasks[tasks["task"].between(*limits)].pivot_table(
            index="seed", columns="mitigation", values="online_accuracy"
        )
        for name, limits in stretches.items()
    }
    rows = []
    for mitigation in ("none", "l2_init"):
        early, late = (frame[mitigation].to_numpy() for frame in means.values())
        change = interval(*(points(value) for value in mean_interval(late - early)))
        rows.append(
            [
                label_of(mitigation),
                *(f"{percent(one.mean(), 1)} ± {100 * one.std(ddof=1):.1f}" for one in (early, late)),
                change,
            ]
        )
    ends = list(means.values())[-1]
    difference = mean_interval((ends["l2_init"] - ends["none"]).to_numpy())
    return {
        "tasks": str(last),
        "accuracy": table(["", *stretches, "change, in points (95%)"], rows),
        "difference": interval(*(points(value) for value in difference)),
    }


PAGES: Mapping[str, Callable[[], Facts]] = {
    "optimizers": optimizers,
    "mitigations": mitigations,
    "regression": regression,
    "random_labels": random_labels,
}
PUBLISH: Mapping[str, Callable[..., None]] = {
    "optimizers": publish_optimizers,
    "mitigations": publish_mitigations,
    "regression": publish_regression,
    "random_labels": publish_random_labels,
}


def page(name: str) -> str:
    """Return a page."""
    return Template((HERE / f"{name}.template.md").read_text()).substitute(PAGES[name]())


def main() -> None:
    """Run one of the two commands."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(dest="command", required=True)
    publish = commands.add_parser("publish")
    publish.add_argument("page", choices=PUBLISH)
    publish.add_argument("directories", nargs="+", metavar="DIR")
    commands.add_parser("write")
    options = parser.parse_args()
    if options.command == "publish":
        PUBLISH[options.page](*options.directories)
        return
    save_maps("optimizers", "optimizer", read("optimizers"))
    save_maps("mitigations", "mitigation", by_change())
    for name in PAGES:
        (HERE / f"{name}.md").write_text(page(name))


if __name__ == "__main__":
    main()
