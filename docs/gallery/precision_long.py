"""The networks of `precision` with sequences of 600 tasks, 70 cells."""

from ray import tune

param_space = {
    "width": 32,
    "depth": 8,
    "lr": tune.grid_search([0.4, 0.5, 0.6, 0.7, 0.8, 1.0, 1.4]),
    "seed": tune.grid_search(list(range(10))),
    "tasks": 600,
    "fresh_baseline": 20,
}
