"""The full grid: depth, learning rate, task separation and noise; 5 seeds, 2,100 cells."""

from ray import tune

param_space = {
    "depth": tune.grid_search([1, 2, 4, 8]),
    "lr": tune.grid_search([0.05, 0.1, 0.2, 0.4, 0.8, 1.6, 3.2]),
    "delta": tune.grid_search([0.0, 0.7, 1.4, 2.1, 2.8]),
    "sigma": tune.grid_search([0.1, 0.22, 0.5]),
    "seed": tune.grid_search(list(range(5))),
}
