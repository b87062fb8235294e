"""Tasks that change gradually: how far they move, against the learning rate; 8 seeds, 280 cells.

Each task has a control network on the same points, because the tasks of a sequence resemble each other and those of the
fresh networks need not. About half an hour on two cores.
"""

from ray import tune

param_space = {
    "depth": 8,
    "drift": tune.grid_search([0.05, 0.1, 0.2, 0.5, 1.0]),
    "lr": tune.grid_search([0.1, 0.2, 0.3, 0.4, 0.6, 0.8, 1.6]),
    "control_every": 1,
    "fresh_baseline": 5,
    "seed": tune.grid_search(list(range(8))),
}
