"""Slowly changing regression of Dohare et al.: three activations, three learning rates, 100 networks each, 900 cells.

A million examples per network, one update each. Source: S. Dohare et al., "Loss of plasticity in deep continual
learning", Nature 632, 2024, and its code. About ten minutes on two cores.
"""

from ray import tune

param_space = {
    "stream": "slowly_changing_regression",
    "samples": 10_000,
    "steps": 10_000,
    "batch_size": 1,
    "tasks": 100,
    "width": 5,
    "depth": 1,
    "init": "kaiming_uniform",
    "activation": tune.grid_search(["relu", "tanh", "identity"]),
    "lr": tune.grid_search([0.001, 0.003, 0.01]),
    "fresh_baseline": 0,
    "seed": tune.grid_search(list(range(100))),
}
