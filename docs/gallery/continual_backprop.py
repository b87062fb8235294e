"""Slowly changing regression with continual backpropagation, 180 cells: does it keep the error down?"""

from ray import tune

from search_spaces import slowly_changing_regression

param_space = {
    **slowly_changing_regression.param_space,
    "activation": tune.grid_search(["relu", "tanh"]),
    "lr": 0.01,
    "mitigation": "continual_backprop_adaptable",
    "replacement_rate": tune.grid_search([1e-4, 1e-3, 1e-2]),
    "seed": tune.grid_search(list(range(30))),
}
