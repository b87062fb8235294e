"""A first map: depth against learning rate where the classes are far apart, 3 seeds; 50 seconds on two cores."""

from ray import tune

param_space = {
    "depth": tune.grid_search([1, 2, 4, 6, 8]),
    "lr": tune.grid_search([0.05, 0.1, 0.2, 0.4, 0.8, 1.6, 3.2]),
    "width": 32,
    "tasks": 100,
    "fresh_baseline": 10,
    "seed": tune.grid_search([0, 1, 2]),
}
