"""Depth and learning rate against mitigations, each with its published hyperparameters; 8 seeds, 864 cells.

About half an hour on two cores, a quarter of an hour in float32.
"""

from ray import tune

param_space = {
    "depth": tune.grid_search([3, 5, 8]),
    "lr": tune.grid_search([0.2, 0.4, 0.8, 1.6]),
    "mitigation": tune.grid_search(
        [
            "none",
            "l2_init",
            "shrink_perturb_per_task",
            "shrink_perturb_per_step",
            "continual_backprop",
            "redo",
            "fire",
            "swr",
            "parseval",
        ]
    ),
    "fresh_baseline": 5,
    "seed": tune.grid_search(list(range(8))),
}
