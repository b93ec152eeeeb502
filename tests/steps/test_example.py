"""How to pretrain with `dermjax.steps` alone, on one device; what `main_moco.py` is to MoCo."""

import functools

import jax
import numpy as np

from dermjax import models
from dermjax.data.augment import Augmentation
from dermjax.steps import moco, optimizer

BATCH, SIDE, STEPS = 16, 24, 60


def pretrain(photographs):
    """`[N, SIDE, SIDE, 3]` uint8 -> the encoder's variables, and the loss of each step."""
    encoder = models.create("efficientnet_tiny", num_classes=0)
    model = models.ProjectedEncoder(encoder, hidden_dim=32, dim=16, norm=True)
    variables = models.initialize(model, 0)
    schedule = optimizer.make_schedule(2e-3, steps=STEPS, schedule="cosine", warmup_steps=5)
    adamw = optimizer.make_adamw(schedule, weight_decay=0.05)
    keys = moco.keys_per_step(BATCH, symmetric=False)
    state = moco.create_state(
        variables, adamw, queue_size=2 * BATCH, dim=16, keys_per_step=keys, seed=0
    )
    step = functools.partial(
        moco.train_step,
        apply=model.apply,
        optimizer=adamw,
        augment=Augmentation(image_size=SIDE, hue=0.0, grayscale_probability=0.0),
        config=moco.MoCoConfig(batch_negatives=True, momentum=lambda step: 0.99),
    )
    step, losses, draw = jax.jit(step, donate_argnums=0), [], np.random.default_rng(0)
    for _ in range(STEPS):
        rows = draw.choice(len(photographs), BATCH, replace=False).astype(np.int32)
        sizes = np.full((BATCH, 2), SIDE, np.int32)
        state, scalars = step(state, {"image": photographs[rows], "size": sizes, "id": rows})
        losses.append(float(scalars["loss"]))
    encoder_variables = jax.tree.map(
        np.asarray, {name: getattr(state, name)["encoder"] for name in ("params", "batch_stats")}
    )
    return encoder_variables, losses


def test_the_example_learns_to_tell_photographs_apart():
    draw = np.random.default_rng(1)
    colours = draw.integers(0, 206, (64, 1, 1, 3))
    photographs = (colours + draw.integers(0, 50, (64, SIDE, SIDE, 3))).astype(np.uint8)
    variables, losses = pretrain(photographs)
    # The first steps meet a queue of noise, which is easy to tell from any image.
    assert np.mean(losses[-20:]) < np.mean(losses[5:25]) - 0.2
    apply = jax.jit(models.create("efficientnet_tiny", num_classes=0).apply)
    features = apply(variables, photographs[:2] / 255.0)
    assert features.shape[0] == 2 and np.isfinite(features).all()
