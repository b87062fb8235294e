"""Narrow networks around the edge of lost plasticity, 2,660 cells: what float32 changes, in pairs with float64."""

from ray import tune

param_space = {
    "width": 32,
    "depth": 8,
    "lr": tune.grid_search([0.4, 0.5, 0.6, 0.7, 0.8, 1.0, 1.4]),
    "seed": tune.grid_search(list(range(380))),
    "tasks": 80,
    "fresh_baseline": 5,
}
