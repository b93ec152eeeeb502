"""MoCo small enough for tests: encoder, view, batches, states; its step mapped over devices."""

import functools

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax.sharding import Mesh

from dermjax import models
from dermjax.models.norm import BatchNorm
from dermjax.steps import moco
from dermjax.steps.optimizer import make_sgd
from dermjax.training.parallel import AXIS, Devices

BATCH, SIDE, DIM, QUEUE = 16, 8, 8, 40  # a queue that no whole number of batches fills
MOMENTUM, TEMPERATURE, LEARNING_RATE = 0.75, 0.2, 0.02  # m low: a wrong key encoder shows
SGD = {"momentum": 0.9, "nesterov": True, "weight_decay": 1e-3}  # all that it can do
# Of each of the 30 photographs; some are the only one of theirs.
LESIONS = (0, 1, 2, 3, *[4] * 2, *[5] * 2, *[6] * 3, *[7] * 5, *[8] * 7, *[9] * 7)
# Compiling is nearly all of the time.
COMPILE = {"xla_backend_optimization_level": 0, "xla_llvm_disable_expensive_passes": True}


class Encoder(nn.Module):
    """The smallest encoder with batch norm groups."""

    bn_groups: int
    axis_name: str | None = AXIS
    num_classes: int = 0

    @nn.compact
    def __call__(self, images, train=False, part=(0, 1)):
        x = nn.Conv(6, (3, 3), strides=2, padding=1, use_bias=False, name="conv1")(images)
        norm = BatchNorm(self.bn_groups, self.axis_name, parts=part[1], name="bn1")
        x = nn.relu(norm(x, train))
        return nn.relu(nn.Conv(6, (3, 3), padding=1, name="conv2")(x)).mean((1, 2))


def network(
    groups: int, axis_name: str | None = AXIS, head_norm: bool = False
) -> models.ProjectedEncoder:
    """`[B, SIDE, SIDE, 3]` -> `[B, DIM]`."""
    encoder = Encoder(groups, axis_name)
    return models.ProjectedEncoder(encoder, hidden_dim=12, dim=DIM, norm=head_norm)


@functools.cache
def variables(head_norm: bool = False):
    """Random weights, the same for any number of groups; drawn by NumPy, which compiles nothing."""
    draw = np.random.default_rng(1)

    def fill(path, leaf):
        numbers = draw.normal(size=leaf.shape)
        values = {
            "kernel": numbers / np.sqrt(np.prod(leaf.shape[:-1])),
            "bias": 0.1 * numbers,
            "scale": 1 + 0.1 * numbers,
            "mean": 0 * numbers,
            "var": 1 + 0 * numbers,
        }
        return values[path[-1].key].astype(np.float32)

    blank = jnp.zeros((1, SIDE, SIDE, 3))
    model = network(1, head_norm=head_norm)
    shapes = jax.eval_shape(model.init, jax.random.key(0), blank)
    return jax.tree_util.tree_map_with_path(fill, shapes)


def view(key, positions, images, sizes):
    """An augmentation that depends on key, position, image and size, and compiles fast."""
    phases = 50 * jax.random.uniform(key) + 1.3 * positions[:, None, None, None]
    noise = jnp.sin(phases + jnp.arange(images[0].size).reshape(images.shape[1:]))
    return (images - 127.0) / 64 + 0.5 * noise + sizes[:, :1, None, None] / 100


def make(
    groups: int,
    *,
    symmetric: bool = False,
    mask: bool = False,
    batch_negatives: bool = False,
    accumulate_steps: int = 1,
    subjects: tuple[int, ...] | None = None,
    head_norm: bool = False,
    optimizer: optax.GradientTransformation | None = None,
    step_of=moco.train_step,
):
    """A fresh state and its per-device step."""
    optimizer = optimizer or make_sgd(LEARNING_RATE, **SGD)
    state = moco.create_state(
        variables(head_norm),
        optimizer,
        queue_size=QUEUE,
        dim=DIM,
        keys_per_step=BATCH * (2 if symmetric else 1),
        seed=0,
    )
    step = functools.partial(
        step_of,
        apply=network(groups, head_norm=head_norm).apply,
        optimizer=optimizer,
        augment=view,
        config=moco.MoCoConfig(
            momentum=lambda step: jnp.float32(MOMENTUM),
            temperature=TEMPERATURE,
            mask_same_image=mask,
            batch_negatives=batch_negatives,
            symmetric=symmetric,
            axis=AXIS,
            accumulate_steps=accumulate_steps,
            subjects=None if subjects is None else np.array(subjects, np.int32),
        ),
    )
    return state, step


def images(count: int = 30) -> np.ndarray:
    """Photographs `[count, SIDE, SIDE, 3]` uint8, each of a colour of its own."""
    draw = np.random.default_rng(0)
    colours = draw.integers(0, 206, (count, 1, 1, 3))
    return (colours + draw.integers(0, 50, (count, SIDE, SIDE, 3))).astype(np.uint8)


def batches(count: int, photographs: int = 30) -> list[dict[str, np.ndarray]]:
    """Of random photographs."""
    draw, pixels = np.random.default_rng(1), images(photographs)
    rows = draw.integers(0, photographs, (count, BATCH)).astype(np.int32)
    same = {"size": np.full((BATCH, 2), SIDE, np.int32), "label": np.zeros(BATCH, np.int32)}
    return [{"image": pixels[ids], "id": ids, **same} for ids in rows]


def with_partners(data: list[dict[str, np.ndarray]], subjects=LESIONS) -> list[dict]:
    """The batches, and with each image another one of its lesion where there is one."""
    draw, pixels, subjects = np.random.default_rng(2), images(), np.array(subjects)
    found = []
    for batch in data:
        others = [np.setdiff1d(np.flatnonzero(subjects == subjects[i]), [i]) for i in batch["id"]]
        ids = [draw.choice(o) if len(o) else i for i, o in zip(batch["id"], others, strict=True)]
        # Buffers of partners are valid in another part, which the view shows.
        sizes = np.full((BATCH, 2), SIDE // 2, np.int32)
        partner = {"partner_image": pixels[ids], "partner_id": np.array(ids, np.int32)}
        found.append(batch | partner | {"partner_size": sizes})
    return found


def devices_of(count: int) -> Devices:
    """The first `count` of the devices."""
    return Devices(Mesh(np.array(jax.devices()[:count]), (AXIS,)))


@functools.cache
def compiled(devices: int, groups: int, **options):
    """The product's own mapping of the step over that many devices, compiled once per session."""
    placed = devices_of(devices)
    state, step = make(groups, **options)
    (batch,) = with_partners(batches(1)) if options.get("subjects") else batches(1)
    share = {name: rows[: BATCH // jax.process_count()] for name, rows in batch.items()}
    step = placed.map_train_step(step).lower(placed.replicate(state), placed.put(share))
    return step.compile(compiler_options=COMPILE)


def trajectory(devices: int, groups: int, data, *, state=None, **options):
    """Runs the step through `data`, batches of which this process has its share.

    Returns:
      The states after each step, and the metrics of each, as NumPy arrays.
    """
    placed, step = devices_of(devices), compiled(devices, groups, **options)
    state = placed.replicate(make(groups, **options)[0] if state is None else state)
    states, metrics = [], []
    for batch in data:
        state, scalars = step(state, placed.put(batch))
        states.append(jax.device_get(state))
        metrics.append(jax.device_get(scalars))
    return states, metrics
