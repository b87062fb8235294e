"""The configuration that is known to lose plasticity clearly (a single long run of the script), over 4 seeds.

The classes share their anchor, the network is deep, and each task is trained for 500 steps: 300 tasks take
minutes per seed.
"""

from ray import tune

param_space = {
    "input_dim": 2,
    "depth": 10,
    "lr": 0.3,
    "steps": 500,
    "tasks": 300,
    "delta": 0.0,
    "spread": 1.0,
    "sigma": 0.2,
    "seed": tune.grid_search([7, 8, 9, 10]),
}
