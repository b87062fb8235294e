"""How often networks are called lost or plastic, by failure rates and by the mean, where the truth is known.

    python benchmarks/verdict_errors.py [--repeats 20000]

Losses are drawn: a task fails with a given probability, and then ends at a heavy-tailed loss. Each network has 25 late
tasks, and is compared with 160 fresh networks (8 seeds of 20), or with its own 20 where the definition does not pool.
"""

from __future__ import annotations

import argparse

import numpy as np

from analysis.scoring import LossCriterion, failed, lost_from, plastic_to

LATE, SEEDS, FRESH = 25, 8, 20
RULE = LossCriterion()
FRESH_RATES = (0.0, 0.02, 0.05, 0.1, 0.2, 0.3, 0.45)
LATE_RATES = (0.05, 0.1, 0.2, 0.4)


def draw(rate: float, shape: tuple[int, ...], rng: np.random.Generator) -> np.ndarray:
    """Return losses in nats: of learnt tasks about 0.007, of failed ones from 0.5 with a heavy tail."""
    return np.where(rng.random(shape) < rate, 0.5 + rng.lognormal(0, 1.5, shape), rng.lognormal(-5, 0.7, shape))


def errors(late_rate: float, fresh_rate: float, repeats: int, rng: np.random.Generator) -> tuple[float, float, float]:
    """Return the shares of networks that are lost and plastic by failure rates, and lost by the mean."""
    late, fresh = draw(late_rate, (repeats, LATE), rng), draw(fresh_rate, (repeats, SEEDS, FRESH), rng)
    pool = fresh.reshape(repeats, -1)
    medians = np.median(pool, axis=1)
    k, fresh_k = (failed(losses, medians, RULE.margin, RULE.factor).sum(axis=1) for losses in (late, pool))
    lost = k >= lost_from(LATE, pool.shape[1], RULE.alpha, RULE.difference)[fresh_k]
    plastic = k <= plastic_to(LATE, pool.shape[1], RULE.difference)[fresh_k]
    own = fresh[:, 0].mean(axis=1)
    by_mean = failed(late.mean(axis=1)[:, None], own, RULE.margin, RULE.factor)[:, 0]
    return float(lost.mean()), float(plastic.mean()), float(by_mean.mean())


def main() -> None:
    """Print both tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeats", type=int, default=20_000)
    repeats, rng = parser.parse_args().repeats, np.random.default_rng(0)
    cases = [(rate, rate) for rate in FRESH_RATES] + [(rate, 0.0) for rate in LATE_RATES]
    print("| late tasks fail | fresh networks fail | lost, by rates | plastic | undecided | lost, by the mean |")
    print("|---|---|---|---|---|---|")
    for late, fresh in cases:
        lost, plastic, by_mean = errors(late, fresh, repeats, rng)
        undecided = 1 - lost - plastic
        print(f"| {late:.0%} | {fresh:.0%} | {lost:.1%} | {plastic:.1%} | {undecided:.1%} | {by_mean:.1%} |")


if __name__ == "__main__":
    main()
