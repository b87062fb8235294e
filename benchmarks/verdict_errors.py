"""How often networks are called lost or plastic, where the truth is known: by failure rates, by the mean, by pairs.

    python benchmarks/verdict_errors.py [--repeats 20000]

Losses are drawn: a task fails with a given probability, and then ends at a heavy-tailed loss. Each network has 25 late
tasks, and is compared with 160 fresh networks (8 seeds of 20), or with its own 20 where the definition does not pool.

The second table has tasks that are too hard for anyone: the network, its control and fresh networks fail them alike.
There "paired" compares a network with its control on every task, on every second or on every fourth one.
"""

from __future__ import annotations

import argparse

import numpy as np

from analysis.scoring import (
    LossCriterion,
    compare_pairs,
    excludes_loss,
    failed,
    lost_from,
    plastic_to,
    shows_loss,
)

LATE, SEEDS, FRESH = 25, 8, 20
RULE = LossCriterion()
FRESH_RATES = (0.0, 0.02, 0.05, 0.1, 0.2, 0.3, 0.45)
LATE_RATES = (0.05, 0.1, 0.2, 0.4)
CONTROL_EVERY = (1, 2, 4)
HARD = (
    # shares of hard late tasks, hard tasks of fresh networks, others that the network fails, that fresh networks fail
    (0.0, 0.0, 0.0, 0.0),
    (0.1, 0.1, 0.0, 0.0),
    (0.3, 0.3, 0.0, 0.0),
    (0.0, 0.0, 0.1, 0.1),
    (0.0, 0.0, 0.3, 0.3),
    (0.2, 0.2, 0.1, 0.1),
    (0.3, 0.1, 0.0, 0.0),
    (0.4, 0.1, 0.0, 0.0),
    (0.0, 0.0, 0.2, 0.0),
    (0.0, 0.0, 0.4, 0.0),
    (0.1, 0.1, 0.4, 0.0),
    (0.3, 0.3, 0.4, 0.0),
    (0.0, 0.0, 0.6, 0.2),
)


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


def draw_on(hard: np.ndarray, rate: float, rng: np.random.Generator) -> np.ndarray:
    """Return losses on tasks of which some are too hard, in nats; the others fail with a probability."""
    return np.where(hard, draw(1.0, hard.shape, rng), draw(rate, hard.shape, rng))


def errors_of_pairs(
    case: tuple[float, float, float, float], repeats: int, rng: np.random.Generator
) -> list[tuple[float, float]]:
    """Return the shares of networks that are lost and plastic: by failure rates, and by pairs, `CONTROL_EVERY`."""
    late_hard, fresh_hard, late_rate, fresh_rate = case
    hard = rng.random((repeats, LATE)) < late_hard
    late, control = draw_on(hard, late_rate, rng), draw_on(hard, fresh_rate, rng)
    pool = draw_on(rng.random((repeats, SEEDS * FRESH)) < fresh_hard, fresh_rate, rng)
    k, fresh_k = (
        failed(losses, np.median(pool, axis=1), RULE.margin, RULE.factor).sum(axis=1) for losses in (late, pool)
    )
    lost = k >= lost_from(LATE, SEEDS * FRESH, RULE.alpha, RULE.difference)[fresh_k]
    plastic = k <= plastic_to(LATE, SEEDS * FRESH, RULE.difference)[fresh_k]
    found = [(float(lost.mean()), float((plastic & ~lost).mean()))]
    for every in CONTROL_EVERY:
        with_control = slice(every - 1, None, every)
        counts = compare_pairs(late[:, with_control], control[:, with_control], RULE.margin, RULE.factor)
        lost = shows_loss(*counts, RULE.alpha, RULE.difference)
        plastic = ~lost & excludes_loss(*counts, RULE.difference)
        found.append((float(lost.mean()), float(plastic.mean())))
    return found


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
    print()
    names = ["by rates", *(f"paired, every {every}" if every > 1 else "paired, every task" for every in CONTROL_EVERY)]
    print(
        f"| late tasks: hard, else fail | fresh: hard, else fail | {' | '.join(f'{n}: lost, plastic' for n in names)} |"
    )
    print("|" + "---|" * (len(names) + 2))
    for case in HARD:
        late_hard, fresh_hard, late, fresh = case
        found = [f"{lost:.1%}, {plastic:.1%}" for lost, plastic in errors_of_pairs(case, repeats, rng)]
        print(f"| {late_hard:.0%}, {late:.0%} | {fresh_hard:.0%}, {fresh:.0%} | {' | '.join(found)} |")


if __name__ == "__main__":
    main()
