"""Make the gallery: publish the scores of its sweeps, and write its page, every number of which is computed here.

    python docs/gallery/gallery.py publish DEPTH_LR_DELTA DELTA_SIGMA SEPARATION FLOAT64 FLOAT32
    python docs/gallery/gallery.py write

`publish` reads the sweep directories and writes the Parquet files, the specification curve and the figures. `write`
needs the published files only: it fills `README.template.md` and writes `README.md`. A test compares the two.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from string import Template
from typing import Any

import numpy as np
import pandas as pd
from formatting import interval, p_value, percent, points, ratio, table
from scipy.stats import rankdata

import analysis
from analysis import statistics
from analysis.cli import main as lop_analysis
from analysis.scoring import LossCriterion, failed, judged_loss, lost_from
from analysis.surface import Boundary, boundary_band, fit_surface

HERE = Path(__file__).parent
TEMPLATE, PAGE = HERE / "README.template.md", HERE / "README.md"
SWEEPS = ("depth_lr_delta", "delta_sigma", "separation", "float64", "float32")
RULE = LossCriterion()
JUDGED = ("lost", "plastic", "undecided")
MARGIN = 0.03
"""Within which failure rates count as equivalent."""
LEVEL = 0.025
"""Of the tests of equivalence: the pairs were looked at twice."""
SYMPTOMS = {"rank": "rank collapse", "duplicates": "duplicates", "saturation": "saturation"}
COMPARED = {
    "gradient norm before the first update": "late_grad_norm",
    "CE before the first update": "late_start_ce",
    "effective rank of the activations": "late_activation_effective_rank",
    "features with a duplicate": "late_duplicate_fraction_any",
    "saturated units": "late_saturation",
    "root mean square of the logits": "late_logit_scale",
}
NULL_DRAWS = 2000
"""Pretended networks per configuration, each of late tasks drawn from real fresh networks."""
SPECIFICATIONS = {
    "definition": ["rate", "mean", "onset", "trend"],
    "margin": [0.1, 0.05, 0.2],
    "factor": [1.5, 1.2, 2.0],
    "last": [25, 10, 50],
}

COMMANDS = """\
map depth_lr_delta --x lr --y depth --value lost --width 12 --out lost.png
map depth_lr_delta --x lr --y depth --value failure_rate --width 12 --out failure_rate.png
map depth_lr_delta --x lr --y depth --value verdict --width 12 --out verdict.png
map depth_lr_delta --x lr --y depth --value causes --where delta=2.8 --width 14 --out causes.png
curves depth_lr_delta --where depth=8 --where delta=2.8 --where lr=0.2,0.4,1.6 --out curves.png
layers depth_lr_delta --where depth=8 --where delta=2.8 --where lr=0.2,0.4,1.6 --out layers.png
survival depth_lr_delta --where delta=2.8 --where depth=5,6,7,8 --by depth --figure survival.png
specification depth_lr_delta --where depth=8 --where delta=2.8 --vary last=25,10,50 --vary margin=0.1,0.05,0.2 \
  --figure specification.png
map delta_sigma --x delta --y sigma --value lost --width 6 --out sigma_lost.png
map delta_sigma --x delta --y sigma --value failure_rate --width 6 --out sigma_failure_rate.png
""".strip().splitlines()
"""The figures, as arguments of `lop-analysis`."""

Facts = dict[str, str]


def publish(directories: Sequence[str]) -> None:
    """Write the scores of the five sweeps with their late losses, the specification curve, and the figures."""
    for name, directory in zip(SWEEPS, directories, strict=True):
        published_scores(directory).to_parquet(HERE / f"{name}.parquet", index=False)
    definitions(directories[0]).to_csv(HERE / "definitions.csv", index=False)
    paths = dict(zip(SWEEPS, directories, strict=True))
    for command in COMMANDS:
        arguments = [paths.get(word, word) for word in command.split()]
        arguments[-1] = str(HERE / arguments[-1])
        if lop_analysis(arguments):
            raise SystemExit(f"lop-analysis {command}: failed")


def published_scores(directory: str) -> pd.DataFrame:
    """Return the scores of a sweep with the seconds of each cell and the losses of its late tasks."""
    scored = analysis.score(directory)
    scored.attrs["directory"] = Path(directory).name
    cells = analysis.load_cells(directory).set_index("cell")
    late: dict[str, np.ndarray] = {}
    for block in analysis.iter_blocks(directory, metrics=["end_ce", "final_ce"]):
        loss, _ = judged_loss(block)
        window = RULE.window(loss.shape[1])
        late |= dict(zip(block.cells["cell"], loss[:, -window:], strict=True))
    columns = {
        "seconds": cells["seconds"].reindex(scored["cell"]).to_numpy(),
        "dtype": cells["dtype"].reindex(scored["cell"]).to_numpy(),
        "late_losses": [late[cell] for cell in scored["cell"]],
    }
    return scored.assign(**columns)


def definitions(directory: str) -> pd.DataFrame:
    """Return the verdicts under other definitions: one threshold at a time differs from the default."""
    reference = analysis.score(directory)
    rows = []
    for name, values in SPECIFICATIONS.items():
        for value in values[1:]:
            rows.append(
                {"changed": f"{name} = {value}", **_verdicts(analysis.score(directory, **{name: value}), reference)}
            )
    return pd.DataFrame([{"changed": "", **_verdicts(reference, reference)}, *rows])


def _verdicts(scored: pd.DataFrame, reference: pd.DataFrame) -> dict[str, int]:
    was, now = reference["verdict"] == "lost", scored["verdict"] == "lost"
    counts = {name: int((scored["verdict"] == name).sum()) for name in (*JUDGED, "untrainable")}
    return {**counts, "newly lost": int((now & ~was).sum()), "no longer lost": int((was & ~now).sum())}


def read(name: str) -> pd.DataFrame:
    """Read a published file."""
    return pd.read_parquet(HERE / f"{name}.parquet")


def facts() -> Facts:
    """Return what the template's placeholders stand for, computed from the published files."""
    maps, sigma, crossed, double, single = (read(name) for name in SWEEPS)
    found: Facts = {}
    for part in (
        lambda: sizes(maps, sigma, crossed),
        lambda: depths(maps),
        lambda: edges(maps),
        lambda: beyond_the_edge(maps),
        lambda: overlapping(maps),
        lambda: separations(sigma),
        lambda: apart_from_noise(crossed),
        lambda: symptoms(maps),
        lambda: gradients(maps),
        lambda: onsets(maps),
        lambda: thresholds(),
        lambda: null(maps),
        lambda: held_out(maps),
        lambda: precision(double, single),
    ):
        found |= part()
    return found


def sizes(maps: pd.DataFrame, sigma: pd.DataFrame, crossed: pd.DataFrame) -> Facts:
    """Return the numbers of cells and their time."""
    return {
        "cells": f"{len(maps):,}",
        "sigma_cells": f"{len(sigma):,}",
        "crossed_cells": f"{len(crossed):,}",
        "seconds": f"{maps['seconds'].sum():,.0f}",
        "sigma_seconds": f"{sigma['seconds'].sum():,.0f}",
        "crossed_seconds": f"{crossed['seconds'].sum():,.0f}",
        "untrainable": str((maps["verdict"] == "untrainable").sum()),
    }


def depths(maps: pd.DataFrame) -> Facts:
    """Return how many networks lost plasticity at each depth and separation."""
    judged = maps[maps["verdict"].isin(JUDGED)]

    def cell(depth: int, delta: float) -> str:
        chosen = judged[(judged["depth"] == depth) & (judged["delta"] == delta)]
        lost, undecided = ((chosen["verdict"] == name).sum() for name in ("lost", "undecided"))
        return f"{lost} of {len(chosen)} ({undecided})"

    deltas = sorted(maps["delta"].unique())
    rows = [[str(depth), *(cell(depth, delta) for delta in deltas)] for depth in sorted(maps["depth"].unique())]
    shallow = judged[judged["depth"] <= 3]
    groups = shallow.groupby(["depth", "lr", "delta"])["verdict"].agg(lambda verdicts: (verdicts == "lost").sum())
    places = [
        f"{lost} of {len(maps['seed'].unique())} seeds at depth {depth:g}, lr {lr:g} and delta {delta:g}"
        for (depth, lr, delta), lost in groups[groups > 0].items()
    ]
    apart = judged[judged["delta"] > 0]
    parts = {
        "deep": apart[(apart["depth"] == 8) & (apart["lr"] >= 0.4)],
        "same": apart[(apart["depth"] <= 3) & (apart["lr"] >= 0.4)],
        "slow": apart[(apart["depth"] == 8) & (apart["lr"] <= 0.24)],
    }
    counts = {name: str(len(part)) for name, part in parts.items()}
    counts |= {f"{name}_lost": str((part["verdict"] == "lost").sum()) for name, part in parts.items()}
    return counts | {
        "by_depth": table(["hidden layers", *(f"delta {delta:g}" for delta in deltas)], rows),
        "shallow_lost": str((shallow["verdict"] == "lost").sum()),
        "shallow": f"{len(shallow):,}",
        "shallow_places": "; ".join(places),
        "shallow_rate": percent(shallow["late_failures"].sum() / shallow["late_tasks"].sum(), 1),
    }


def edges(maps: pd.DataFrame) -> Facts:
    """Return the learning rate at which half of the seeds lose plasticity, with its band, by depth and separation."""
    rows = []
    found: Facts = {}
    for delta in (1.4, 2.8):
        panel = maps[(maps["delta"] == delta) & maps["lost"].notna()]
        lr, depth, boundary = fitted_boundary(panel)
        for layers in (5, 6, 7, 8):
            at = int(np.abs(depth - layers).argmin())
            text = edge_text(lr, boundary, at)
            found[f"edge_{delta:g}_{layers}".replace(".", "")] = text
            rows.append([f"{delta:g}", str(layers), text])
    return found | {"edges": table(["delta", "hidden layers", "learning rate with P(lost) = 1/2, 95% band"], rows)}


def fitted_boundary(panel: pd.DataFrame) -> tuple[np.ndarray, np.ndarray, Boundary]:
    """Fit P(lost) over learning rate and depth; return both fine axes and the boundary at 1/2."""
    surface = fit_surface(
        panel[["lr", "depth"]].to_numpy(float),
        panel["lost"].to_numpy(float),
        np.ones(len(panel)),
        clusters=panel["seed"].to_numpy(),
        scales=("log", "linear"),
    )
    lr = np.geomspace(panel["lr"].min(), panel["lr"].max(), 101)
    depth = np.linspace(panel["depth"].min(), panel["depth"].max(), 43)
    return lr, depth, boundary_band(surface, (lr, depth))


def edge_text(lr: np.ndarray, boundary: Boundary, at: int) -> str:
    """Return where a row of the map crosses 1/2, and the band's parts in it."""
    rate, band = boundary.rate[:, at], boundary.band[:, at]
    crossings = [f"{lr[i]:.2g}" for i in np.flatnonzero((rate[1:] > 0.5) != (rate[:-1] > 0.5))]
    starts = np.flatnonzero(np.diff(np.concatenate([[0], band.astype(int), [0]])))
    parts = [f"{lr[a]:.2g} to {lr[b - 1]:.2g}" for a, b in starts.reshape(-1, 2)]
    return f"{' and '.join(crossings) or 'none'} [{', '.join(parts) or 'none'}]"


def beyond_the_edge(maps: pd.DataFrame) -> Facts:
    """Return how the failure rate depends on the learning rate beyond the edge."""
    found: Facts = {}
    rows = []
    for layers in (7, 8):
        for delta in (1.4, 2.8):
            chosen = maps[(maps["depth"] == layers) & (maps["delta"] == delta) & (maps["lr"] >= 0.48)]
            chosen = chosen[chosen["verdict"].isin(JUDGED)]
            row = statistics.regression(chosen, ["log lr"]).set_index("term").loc["log lr"]
            ends = [chosen[chosen["lr"] == lr]["late_failure_rate"].mean() for lr in (0.48, 3.2)]
            odds = [f"{value:.2f}" for value in np.exp(row[["coefficient", "low", "high"]].astype(float))]
            rows.append([f"{delta:g}", str(layers), *map(percent, ends), interval(*odds), p_value(row["p"])])
    heading = ["delta", "hidden layers", "failures at lr 0.48", "at lr 3.2", "odds ratio per factor e in lr", "p"]
    return found | {"beyond": table(heading, rows)}


def overlapping(maps: pd.DataFrame) -> Facts:
    """Return what happens at delta 0."""
    zero = maps[maps["delta"] == 0]
    judged = zero[zero["verdict"].isin(JUDGED)]
    difference = judged["late_failure_rate"] - judged["fresh_failure_rate"]
    return {
        "zero_untrainable": str((zero["verdict"] == "untrainable").sum()),
        "zero_judged": str(len(judged)),
        "zero_lost": str((judged["verdict"] == "lost").sum()),
        "zero_better": percent((difference < 0).mean()),
        "zero_late": percent(judged["late_failure_rate"].mean(), 1),
        "zero_fresh": percent(judged["fresh_failure_rate"].mean(), 1),
    }


def separations(sigma: pd.DataFrame) -> Facts:
    """Return which combination of delta and sigma puts the boundary in one place."""
    judged = sigma[sigma["verdict"].isin(JUDGED)]
    prime = statistics.sharpness(judged)
    bins = [0, 0.5, 1, 1.5, 2, 3, np.inf]
    groups = judged.assign(bin=pd.cut(prime, bins, right=False)).groupby("bin", observed=True)
    shares = [
        [f"{interval.left:g} to {interval.right:g}", f"{(group['verdict'] == 'lost').sum()} of {len(group)}",
         percent(group["late_failure_rate"].mean())]
        for interval, group in groups
    ]  # fmt: skip
    return {
        "collapse": collapsed(judged)[1],
        "by_sharpness": table(["d'", "lost", "late failure rate"], shares),
    }


def collapsed(judged: pd.DataFrame) -> tuple[pd.DataFrame, str]:
    """Return how well combinations of delta and sigma explain the verdicts, by combination, and as the page's table."""
    candidates = {
        "delta": ["delta"], "log sigma": ["log sigma"], "delta + log sigma": ["delta", "log sigma"], "d'": ["d'"],
        "d' + log sigma": ["d'", "log sigma"],
    }  # fmt: skip
    compared = statistics.collapse(judged, candidates, response="lost")
    rows = [
        [str(row["candidate"]), f"{row['deviance']:.0f}", f"{row['aic']:.0f}", percent(row["explained"]),
         "" if np.isnan(row["half"]) else f"{row['half']:.2f}"]
        for _, row in compared.iterrows()
    ]  # fmt: skip
    return compared.set_index("candidate"), table(["regressors", "deviance", "AIC", "explained", "half at"], rows)


def apart_from_noise(crossed: pd.DataFrame) -> Facts:
    """Return the verdicts on a grid of d' and sigma."""
    judged = crossed[crossed["verdict"].isin(JUDGED)]
    prime = pd.Series(statistics.sharpness(crossed).round(6), crossed.index)
    noises = sorted(crossed["sigma"].unique())

    def cell(separation: float, sigma: float) -> str:
        chosen = judged[(prime[judged.index] == separation) & (judged["sigma"] == sigma)]
        lost = (chosen["verdict"] == "lost").sum()
        return f"{lost}/{len(chosen)} ({percent(chosen['late_failure_rate'].mean())})" if len(chosen) else ""

    rows = [[f"{one:g}", *(cell(one, sigma) for sigma in noises)] for one in sorted(prime.unique())]
    compared, shown = collapsed(judged)
    alone, with_noise = compared["deviance"][["d'", "d' + log sigma"]]
    half = compared["half"]["d'"]
    return {
        "crossed": table(["d'", *(f"sigma {sigma:g}" for sigma in noises)], rows),
        "crossed_collapse": shown,
        "crossed_half": f"{half:.2f}",
        "crossed_drop": f"{alone - with_noise:.1f}",
    }


def symptoms(maps: pd.DataFrame) -> Facts:
    """Return whether symptoms come with a loss within one configuration."""
    odds, lead = statistics.symptom_odds(maps), statistics.symptom_lead(maps)
    rows = [
        [SYMPTOMS[row["symptom"]], row["comparison"], ratio(row["crude"]), *_pooled(row), str(int(row["informative"]))]
        for _, row in odds.iterrows()
    ]
    ahead = [
        [
            SYMPTOMS[row["symptom"]],
            percent(row["hazard_with"], 1),
            percent(row["hazard_without"], 1),
            str(int(row["onsets_with"])),
            *_pooled(row),
            str(int(row["informative"])),
        ]
        for _, row in lead.iterrows()
    ]
    heading = ["symptom", "comparison", "crude odds ratio", "stratified (95%)", "p", "informative strata"]
    short = {"any time": "any", "before the onset": "before"}
    each = {
        f"{row['symptom']}_{short[row['comparison']]}": "{}, p {}, {} informative strata".format(
            *_pooled(row)[:1], _compared(row["p"]), int(row["informative"])
        )
        for _, row in odds.iterrows()
    }
    return each | {
        "odds": table(heading, rows),
        "lead": table(
            ["symptom", "hazard with", "without", "onsets with", "odds ratio (95%)", "p", "informative strata"], ahead
        ),
        **{f"{row['symptom']}_lead": _pooled(row)[0] for _, row in lead.iterrows()},
    }


def _compared(p: float) -> str:
    """Return a p value with the sign of its comparison."""
    text = p_value(p)
    return text if text.startswith("<") else f"= {text}"


def _pooled(row: pd.Series) -> list[str]:
    """Return a pooled odds ratio with its interval, and its p value."""
    return [interval(*(ratio(row[name]) for name in ("odds_ratio", "low", "high"))), p_value(row["p"])]


def gradients(maps: pd.DataFrame) -> Facts:
    """Return whether metrics of late tasks are smaller in lost networks than in plastic ones of the same point."""
    rows = []
    found: Facts = {}
    for delta in (1.4, 2.8):
        chosen = maps[(maps["delta"] == delta) & maps["verdict"].isin(("lost", "plastic"))]
        start = chosen.loc[chosen["verdict"] == "lost", "late_start_ce"].median()
        found[f"start_{10 * delta:.0f}"] = f"{start:.1f}"
        for label, column in COMPARED.items():
            share, p, strata = stratified(chosen, column)
            found[f"{column}_{10 * delta:.0f}"] = percent(share)
            rows.append([f"{delta:g}", label, percent(share), p_value(p), str(strata)])
    heading = ["delta", "mean or median of late tasks", "P(lost < plastic) at the same point", "p", "points with both"]
    return found | {"gradients": table(heading, rows)}


def stratified(chosen: pd.DataFrame, column: str, draws: int = 4000) -> tuple[float, float, int]:
    """Return P(a lost network's value is below a plastic one's) within points, its permutation p, and the points.

    The pairs of all points that have both verdicts count equally. Verdicts are permuted within points.
    """
    groups = [group for _, group in chosen.groupby(["depth", "lr"]) if group["verdict"].nunique() == 2]
    if not groups:
        return np.nan, np.nan, 0
    rng = np.random.default_rng(0)
    ranks = [rankdata(group[column]) for group in groups]
    lost = [(group["verdict"] == "lost").to_numpy() for group in groups]
    pairs = sum(int(one.sum() * (~one).sum()) for one in lost)

    def below(labels: Iterator[np.ndarray]) -> float:
        wins = 0.0
        for rank, one in zip(ranks, labels, strict=True):
            n = int(one.sum())
            wins += n * (len(one) - n) - (rank[one].sum() - n * (n + 1) / 2)
        return wins / pairs

    observed = below(iter(lost))
    permuted = np.array([below(rng.permutation(one) for one in lost) for _ in range(draws)])
    extreme = (np.abs(permuted - 0.5) >= abs(observed - 0.5) - 1e-12).sum()
    return observed, float((extreme + 1) / (draws + 1)), len(groups)


def onsets(maps: pd.DataFrame) -> Facts:
    """Return when plasticity is lost at the learning rates around the edge."""
    chosen = maps[(maps["delta"] == 2.8) & (maps["depth"] == 8) & maps["lr"].isin((0.28, 0.34, 0.4, 0.57))]
    found = statistics.lost_by(chosen, (25, 50, 98), ["lr"])
    shares = ["lost", "low", "high"]
    rows = [
        [f"{lr:g}", *(interval(*map(percent, row)) for row in group[shares].to_numpy(float))]
        for lr, group in found.groupby("lr")
    ]
    return {"onsets": table(["learning rate", "by task 25", "by task 50", "by task 98"], rows)}


def thresholds() -> Facts:
    """Return the verdicts under other definitions."""
    rows = pd.read_csv(HERE / "definitions.csv", keep_default_na=False)
    lost = rows["lost"][~rows["changed"].str.startswith("definition")]
    return {
        "definitions": table(["changed", *rows.columns[1:]], rows.astype(str).to_numpy().tolist()),
        "fewest_lost": str(lost.min()),
        "most_lost": str(lost.max()),
    }


def null(maps: pd.DataFrame) -> Facts:
    """Return how often networks that cannot have lost anything are called lost.

    In each configuration, 25 of its fresh networks stand for late tasks and all others for the baseline; by the mean,
    20 of the others.
    """
    rng = np.random.default_rng(0)
    rates = []
    pools = {}
    fields = ["depth", "lr", "delta"]
    for key, group in maps[maps["verdict"] != "untrainable"].groupby(fields):
        pool = np.concatenate(group["fresh_ce"].to_list())
        if not np.isfinite(pool).all():
            continue
        pools[key] = pool
        rates.append((*key, *null_rates(pool, rng)))
    found = pd.DataFrame(rates, columns=[*fields, "rate", "mean"])
    worst = {}
    for delta, group in found.groupby("delta"):
        top = group.nlargest(5, "rate")[fields].itertuples(index=False, name=None)
        worst[delta] = max(null_rates(pools[key], rng, 10 * NULL_DRAWS)[0] for key in top)
    rows = [
        [f"{delta:g}", str(len(group)), percent(group["rate"].mean(), 2), percent(worst[delta], 2),
         percent(group["mean"].mean(), 1), percent(group["mean"].max())]
        for delta, group in found.groupby("delta")
    ]  # fmt: skip
    heading = ["delta", "configurations", "by rates: mean", "largest", "by the mean: mean", "largest"]
    return {"null": table(heading, rows)}


def null_rates(pool: np.ndarray, rng: np.random.Generator, draws: int = NULL_DRAWS) -> tuple[float, float]:
    """Return the shares of pretended networks that are lost by failure rates, and by the mean of their losses."""
    late, own = 25, 20
    order = np.argsort(rng.random((draws, len(pool))), axis=1)
    drawn, rest = pool[order[:, :late]], pool[order[:, late:]]
    medians = np.median(rest, axis=1)
    k, fresh_k = (failed(losses, medians, RULE.margin, RULE.factor).sum(axis=1) for losses in (drawn, rest))
    by_rate = k >= lost_from(late, rest.shape[1], RULE.alpha, RULE.difference)[fresh_k]
    means = rest[:, :own].mean(axis=1)
    by_mean = failed(drawn.mean(axis=1)[:, None], means, RULE.margin, RULE.factor)[:, 0]
    return float(by_rate.mean()), float(by_mean.mean())


def held_out(maps: pd.DataFrame) -> Facts:
    """Return how well a surface fitted to six seeds predicts the verdicts of the other two."""
    predicted, seen = [], []
    seeds = np.sort(maps["seed"].unique())
    for left in seeds.reshape(-1, 2):
        for delta in (1.4, 2.8):
            panel = maps[(maps["delta"] == delta) & maps["lost"].notna()]
            held = panel["seed"].isin(left)
            fit, test = panel[~held], panel[held]
            surface = fit_surface(
                fit[["lr", "depth"]].to_numpy(float), fit["lost"].to_numpy(float), np.ones(len(fit)),
                clusters=fit["seed"].to_numpy(), scales=("log", "linear"),
            )  # fmt: skip
            axes = np.sort(panel["lr"].unique()), np.sort(panel["depth"].unique()).astype(float)
            rate = boundary_band(surface, axes).rate
            at = [np.searchsorted(axis, test[name]) for axis, name in zip(axes, ("lr", "depth"), strict=True)]
            predicted.append(rate[at[0], at[1]])
            seen.append(test["lost"].to_numpy(float))
    p, y = np.concatenate(predicted), np.concatenate(seen)
    bins = np.digitize(p, [0.05, 0.2, 0.4, 0.6, 0.8, 0.95])
    names = ["below 5%", "5 to 20%", "20 to 40%", "40 to 60%", "60 to 80%", "80 to 95%", "above 95%"]
    rows = [
        [names[b], str((bins == b).sum()), percent(p[bins == b].mean()), percent(y[bins == b].mean())]
        for b in range(len(names)) if (bins == b).any()
    ]  # fmt: skip
    return {
        "held_out": table(["predicted P(lost)", "networks", "predicted", "lost"], rows),
        "brier": f"{np.mean((p - y) ** 2):.3f}",
        "brier_base": f"{np.mean((y.mean() - y) ** 2):.3f}",
    }


def precision(double: pd.DataFrame, single: pd.DataFrame) -> Facts:
    """Return the paired comparison of float64 with float32."""
    rows = []
    found: Facts = {}
    for tasks in sorted(double["tasks"].unique()):
        pairs = statistics.pair(double[double["tasks"] == tasks], single[single["tasks"] == tasks])
        lost = pairs.assign(difference=pairs["lost_second"] - pairs["lost_first"])
        changed = (lost["difference"] != 0).sum()
        for name, frame in (("failure rate", pairs), ("P(lost)", lost)):
            row = statistics.equivalence(frame, margin=MARGIN, alpha=LEVEL).iloc[0]
            difference = interval(*(points(value) for value in row[["estimate", "low", "high"]]))
            rows.append([str(tasks), f"{len(pairs):,}", name, difference, p_value(row["p"])])
        found |= {f"pairs_{tasks}": f"{len(pairs):,}", f"changed_{tasks}": str(changed)}
    heading = ["tasks", "pairs", "of", "float32 - float64, in points (95%)", "p of a difference of 3 points or more"]
    return found | {"precision": table(heading, rows)}


def page() -> str:
    """Return the page."""
    return Template(TEMPLATE.read_text()).substitute(facts())


def main() -> None:
    """Run one of the two commands."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(dest="command", required=True)
    commands.add_parser("publish").add_argument("directories", nargs=len(SWEEPS), metavar="DIR")
    commands.add_parser("write")
    options = parser.parse_args()
    actions: dict[str, Callable[[], Any]] = {
        "publish": lambda: publish(options.directories),
        "write": lambda: PAGE.write_text(page()),
    }
    actions[options.command]()


if __name__ == "__main__":
    main()
