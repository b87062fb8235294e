"""How often points of a map of a difference have a dot where nothing differs, and where something does.

    python benchmarks/difference_errors.py [--repeats 400] [--seeds 3,5,8,16]
    python benchmarks/difference_errors.py --unequal [--repeats 1000]

Two sweeps of 11 learning rates and 5 depths, with the same probabilities of a loss, or with an edge that moves by a
factor of two at three of the depths. Seeds are independent, or the same in both sweeps and at all points, with latent
correlations of 0.6 between the two cells of a seed at a point and 0.2 between any two cells of a seed.

    dots     the rule of `analysis.plot.difference`: q <= 0.05 by mid-p (verdicts), or by permutations (failure rates)
    pairs    q <= 0.05 by sign flips of pairs, as in `lop-analysis compare --table points`
    alone    the 95% interval of the point excludes 0, whatever the other points do

Each rule has: the share of maps with a dot if nothing differs; if the edge moves, the mean share of dots at points
that do not differ among all dots, and the share of points with a difference above 0.5 that have one.

With --unequal: single points with unequal numbers of seeds and unequal spread, normal or exponential with equal means.
Each test has the share of points with p <= 0.05, also where the means differ by two standard deviations and the spread
is equal.

    permuted   the rule of `permutation_tests`: ways to deal out the seeds, by Welch's statistic
    plain      the same ways by the difference of means
    Welch      Welch's t test
"""

from __future__ import annotations

import argparse

import numpy as np
from scipy.special import expit, logit
from scipy.stats import norm, ttest_ind

from analysis.scoring import bootstrap, difference_interval, wilson
from analysis.statistics import benjamini_hochberg, permutation_tests, q_values, share_test, sign_flip

LATE, LEVEL, STRONG = 25, 0.05, 0.5
LOG_LRS, DEPTHS = np.log(0.05) + np.arange(11) * np.log(2) / 2, np.arange(5)
CORRELATIONS = {"independent": (0.0, 0.0), "the same": (0.2, 0.4)}
SCORES = ("lost", "failure_rate")
SIZES = ((3, 16, 4), (16, 3, 4), (4, 12, 3), (12, 4, 3), (3, 8, 3), (3, 5, 3), (8, 16, 3), (6, 8, 2))
"""Seeds of both sweeps, and the standard deviation of the first one's scores; that of the second is 1."""


def probabilities(moved: bool, width: float = 0.15) -> np.ndarray:
    """Return P(lost) at all points, (55,)."""
    edge = np.log(0.4) - 0.2 * DEPTHS - np.log(2) * moved * (DEPTHS >= 2)
    return (0.02 + 0.96 * expit((LOG_LRS - edge[:, None]) / width)).ravel()


def draw(
    score: str, p: list[np.ndarray], seeds: int, shares: tuple[float, float], rng: np.random.Generator
) -> np.ndarray:
    """Return the scores of both sweeps, (2, seeds, 55)."""
    points = len(p[0])
    of_seed, of_pair = rng.normal(size=(seeds, 1)), rng.normal(size=(seeds, points))
    own = rng.normal(size=(2, seeds, points))
    z = np.sqrt(shares[0]) * of_seed + np.sqrt(shares[1]) * of_pair + np.sqrt(1 - sum(shares)) * own
    if score == "lost":
        return (norm.cdf(z) < np.array(p)[:, None]).astype(float)
    return rng.binomial(LATE, expit(logit(np.array(p))[:, None] + z)) / LATE


def marked(score: str, values: np.ndarray, rng: np.random.Generator) -> dict[str, np.ndarray]:
    """Return the points that each rule marks, (55,)."""
    first, second = values
    n, mean = len(first), values.mean(axis=1)
    if score == "lost":
        k = (values.sum(axis=1)).astype(int)
        tests = np.array([share_test((int(a), int(b)), (n, n)) for a, b in k.T]).T
        ends = [(share, *wilson(count, np.full(len(count), n))) for share, count in zip(mean, k, strict=True)]
    else:
        tests = np.array(permutation_tests(list(first.T), list(second.T), rng))
        ends = [(share, *bootstrap(one.T, rng)) for share, one in zip(mean, values, strict=True)]
    low, high = difference_interval(*ends)
    pairs = np.array([sign_flip(one, rng) for one in (second - first).T])
    return {
        "dots": q_values(*tests) <= LEVEL,
        "pairs": benjamini_hochberg(pairs) <= LEVEL,
        "alone": (low > 0) | (high < 0),
    }


def unequal_rates(
    n: int, m: int, spread: float, shift: float, noise: str, repeats: int, rng: np.random.Generator
) -> dict[str, float]:
    """Return the share of points with p <= 0.05 by each test."""

    def values(size: int) -> np.ndarray:
        return rng.normal(size=(repeats, size)) if noise == "normal" else rng.exponential(size=(repeats, size)) - 1

    first, second = spread * values(n), shift + values(m)
    both = np.hstack([first, second])
    chosen = rng.permuted(np.tile(np.arange(n + m), (4000, 1)), axis=1) < n
    # With all n + m values given, the sum of the first n says how far apart the means are.
    distance = np.abs(both @ chosen.T - n * both.mean(axis=1, keepdims=True))
    observed = np.abs(first.sum(axis=1) - n * both.mean(axis=1))[:, None]
    p = {
        "permuted": permutation_tests(list(first), list(second), rng)[0],
        "plain": (distance >= observed * (1 - 1e-9)).mean(axis=1),
        "Welch": ttest_ind(first, second, axis=1, equal_var=False).pvalue,
    }
    return {name: float((one <= LEVEL).mean()) for name, one in p.items()}


def print_unequal(repeats: int, rng: np.random.Generator) -> None:
    """Print a table of single points."""
    print("| seeds | spread | noise | means differ | permuted | plain | Welch |")
    print("|---|---|---|---|---|---|---|")
    for n, m, spread in SIZES:
        for noise in ("normal", "exponential"):
            for wider, shift in ((spread, 0.0), (1, 2.0)):
                rates = unequal_rates(n, m, wider, shift, noise, repeats, rng)
                shown = " | ".join(f"{share:.1%}" for share in rates.values())
                print(f"| {n}, {m} | {wider}, 1 | {noise} | {shift:g} | {shown} |", flush=True)


def main() -> None:
    """Print a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeats", type=int, default=400)
    parser.add_argument("--seeds", default="3,5,8,16")
    parser.add_argument("--unequal", action="store_true", help="single points with unequal seeds and spread")
    options = parser.parse_args()
    rng = np.random.default_rng(0)
    if options.unequal:
        print_unequal(options.repeats, rng)
        return
    print("| score | seeds | seeds are | rule | maps with a dot, no difference | false dots | differences found |")
    print("|---|---|---|---|---|---|---|")
    for score in SCORES:
        for seeds in map(int, options.seeds.split(",")):
            for name, shares in CORRELATIONS.items():
                counts: dict[str, np.ndarray] = {}
                before = probabilities(False)
                for moved in (False, True):
                    p = [before, probabilities(moved)]
                    same, strong = p[1] == p[0], np.abs(p[1] - p[0]) > STRONG
                    for _ in range(options.repeats):
                        for rule, dots in marked(score, draw(score, p, seeds, shares, rng), rng).items():
                            false = (dots & same).sum() / max(dots.sum(), 1)
                            new = [0, false, dots[strong].mean()] if moved else [dots.any(), 0, 0]
                            counts[rule] = counts.get(rule, 0) + np.array(new, float)
                for rule, total in counts.items():
                    shown = " | ".join(f"{share:.1%}" for share in total / options.repeats)
                    print(f"| {score} | {seeds} | {name} | {rule} | {shown} |", flush=True)


if __name__ == "__main__":
    main()
