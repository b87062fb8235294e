"""Learning rate against activation in networks of five layers; 8 seeds, 616 cells.

About twenty minutes on two cores, ten in float32.
"""

from ray import tune

param_space = {
    "activation": tune.grid_search(
        ["tanh", "relu", "leaky_relu", "gelu", "elu", "selu", "silu", "erf", "sigmoid", "identity", "crelu"]
    ),
    "lr": tune.grid_search([0.05, 0.1, 0.2, 0.4, 0.8, 1.6, 3.2]),
    "fresh_baseline": 5,
    "seed": tune.grid_search(list(range(8))),
}
