"""The boundary over depth, learning rate and separation, finer than a dense sweep can afford: for lop-sweep refine."""

from ray import tune

param_space = {
    "depth": tune.grid_search([2, 3, 4, 5, 6, 7, 8]),
    "lr": tune.loguniform(0.1, 3.2),
    "delta": tune.grid_search([0.8, 1.2, 1.6, 2.0, 2.4, 2.8]),
    "fresh_baseline": 20,
}
seeds = 8
