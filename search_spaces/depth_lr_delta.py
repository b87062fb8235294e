"""Depth against learning rate at three separations of the classes; 8 seeds, 1,848 cells: the maps of docs/gallery.

About an hour on two cores. The learning rates are closer where deep networks begin to lose plasticity.
"""

from ray import tune

param_space = {
    "depth": tune.grid_search([1, 2, 3, 5, 6, 7, 8]),
    "lr": tune.grid_search([0.1, 0.2, 0.24, 0.28, 0.34, 0.4, 0.48, 0.57, 0.8, 1.6, 3.2]),
    "delta": tune.grid_search([0.0, 1.4, 2.8]),
    "seed": tune.grid_search(list(range(8))),
    "metrics": [
        "activation_effective_rank",
        "srank",
        "duplicate_fraction_any",
        "logit_scale",
        "test_ce",
        "test_accuracy",
    ],
    "test_samples": 200,
}
