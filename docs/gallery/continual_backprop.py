"""Slowly changing regression with continual backpropagation, 180 cells: does it keep the error down?"""

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
    "activation": tune.grid_search(["relu", "tanh"]),
    "lr": 0.01,
    "mitigation": "continual_backprop_adaptable",
    "replacement_rate": tune.grid_search([1e-4, 1e-3, 1e-2]),
    "fresh_baseline": 0,
    "seed": tune.grid_search(list(range(30))),
}
