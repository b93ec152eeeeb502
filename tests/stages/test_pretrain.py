"""How a pretraining's fields become its parts."""

import jax
import numpy as np
import pytest
from dermjax.configs import common

from dermjax.stages import pretrain

# A kernel and a bias; gradients of which the second kernel's is a hundred times the first's.
PARAMS = {"kernel": np.array([[2.0, -4.0]], np.float32), "bias": np.array([2.0], np.float32)}
GRADS = {"kernel": np.array([[0.01, 1.0]], np.float32), "bias": np.array([1.0], np.float32)}


@pytest.mark.parametrize(
    ("optimizer", "kernel", "bias"),
    [
        ("sgd", [0.01 + 0.2, 1.0 - 0.4], 1.0 + 0.2),  # gradient, and decay of everything
        ("adamw", [1.0 + 0.2, 1.0 - 0.4], 1.0),  # sign of the gradient, and decay of kernels
    ],
)
def test_the_optimizer_is_the_one_that_is_named(optimizer, kernel, bias):
    stage = common.make_config("SS", "scale=paper").pretrain
    stage.update(dict(optimizer=optimizer, learning_rate=0.5, weight_decay=0.1, nesterov=False))
    _, found = pretrain._optimizer(stage)
    updates, _ = found.update(GRADS, found.init(PARAMS), PARAMS)
    expected = {"kernel": [[-0.5 * value for value in kernel]], "bias": [-0.5 * bias]}
    jax.tree.map(
        lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-4),
        updates,
        {name: np.array(value) for name, value in expected.items()},
    )
