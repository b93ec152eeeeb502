"""The real training steps and views, put together as the stages do, on random numbers.

Nothing here imports what a bare accelerator machine may lack (grain, tensorflow-datasets): the
stages' own files do, so the few lines that build a step from a config stand here again.
"""

import dataclasses
import functools
import importlib.util
import pathlib
import sys
import types
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from dermjax import models, saliency
from dermjax.data.augment import Augmentation, normalize
from dermjax.steps import classify, losses, moco, optimizer
from dermjax.training.parallel import AXIS, Devices

CLASSES = 10


@dataclasses.dataclass(frozen=True)
class Program:
    """A jitted step with its first state and a batch, both on the host."""

    step: Callable
    state: Any
    batch: dict[str, np.ndarray]

    @property
    def images(self) -> int:
        return len(self.batch["image"])


class _Fields(dict):
    """What the config file uses of ml_collections' ConfigDict, for machines without it."""

    __getattr__, __setattr__ = dict.__getitem__, dict.__setitem__

    def to_dict(self) -> dict:
        return dict(self)


def load_config(path: pathlib.Path, scale: str = "paper"):
    """The config of SS at a scale, read by path: the package may not be installed."""
    if importlib.util.find_spec("ml_collections") is None:
        sys.modules["ml_collections"] = types.SimpleNamespace(ConfigDict=_Fields)
    if importlib.util.find_spec("dermjax.configs") is None:  # where links do not travel
        package = sys.modules["dermjax.configs"] = types.ModuleType("dermjax.configs")
        package.__path__ = [str(path.parent)]
    spec = importlib.util.spec_from_file_location("benchmark_config", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.make_config("SS", f"scale={scale}")


def train_program(config, devices: Devices, batch: int) -> Program:
    """Fine-tuning's step: augmentation, network, AdamW; the state is donated."""
    stage = config.finetune
    model = _classifier(config, devices)
    schedule = optimizer.make_schedule(
        stage.learning_rate,
        steps=stage.steps,
        schedule=stage.schedule,
        warmup_steps=stage.warmup_steps,
    )
    adamw = optimizer.make_adamw(schedule, weight_decay=stage.weight_decay)
    create = functools.partial(classify.create_state, optimizer=adamw, seed=0)
    state = _drawn(model, stage.image_size, create)
    step = functools.partial(
        classify.train_step,
        apply=model.apply,
        optimizer=adamw,
        augment=view(stage),
        config=classify.ClassifierConfig(
            loss=functools.partial(losses.cross_entropy, label_smoothing=stage.label_smoothing),
            axis=AXIS,
            accumulate_steps=stage.accumulate_steps,
        ),
    )
    data = photographs(config.data.max_side, batch)
    return Program(devices.map_train_step(step), state, data)


def moco_program(config, devices: Devices, batch: int, size: int) -> Program:
    """MoCo-v2's step at another size than the config's, if asked."""
    stage = config.pretrain
    encoder = models.create(
        config.model.name,
        num_classes=0,
        dtype=devices.compute_dtype,
        phased=devices.platform == "tpu",
        bn_groups=stage.bn_groups,
        axis_name=AXIS,
    )
    model = models.ProjectedEncoder(
        encoder, hidden_dim=stage.hidden_dim, dim=stage.dim, norm=stage.head_norm
    )
    schedule = optimizer.make_schedule(
        stage.learning_rate,
        steps=stage.steps,
        schedule=stage.schedule,
        warmup_steps=stage.warmup_steps,
        milestones=stage.milestones,
        decay=stage.decay,
    )
    if stage.optimizer == "adamw":
        descent = optimizer.make_adamw(schedule, weight_decay=stage.weight_decay)
    else:
        descent = optimizer.make_sgd(
            schedule,
            momentum=stage.sgd_momentum,
            nesterov=stage.nesterov,
            weight_decay=stage.weight_decay,
        )
    create = functools.partial(
        moco.create_state,
        optimizer=descent,
        queue_size=stage.queue_size or 2 * batch,
        dim=stage.dim,
        keys_per_step=batch,
        seed=0,
    )
    state = _drawn(model, size, create)
    step = functools.partial(
        moco.train_step,
        apply=model.apply,
        optimizer=descent,
        augment=view(stage, size),
        config=moco.MoCoConfig(
            momentum=optimizer.make_momentum(stage.momentum, stage.momentum_end, steps=stage.steps),
            temperature=stage.temperature,
            mask_same_image=stage.mask_same_image,
            batch_negatives=stage.batch_negatives,
            symmetric=stage.symmetric,
            axis=AXIS,
            accumulate_steps=stage.accumulate_steps,
        ),
    )
    data = photographs(config.data.max_side, batch)
    return Program(devices.map_train_step(step), state, data)


def predict_program(config, devices: Devices, batch: int) -> tuple[Callable, Any, dict]:
    """The jitted prediction of logits, its variables and a batch."""
    model = _classifier(config, devices)
    step = functools.partial(classify.predict_step, apply=model.apply, normalize=normalize)
    data = photographs(config.finetune.image_size, batch)
    variables = _drawn(model, config.finetune.image_size, lambda variables: variables)
    return jax.jit(step), variables, {"image": data["image"], "id": data["id"]}


def view(stage, size: int | None = None) -> Augmentation:
    """The augmentation of a stage."""
    return Augmentation(image_size=size or stage.image_size, **stage.augment.to_dict())


def photographs(side: int, batch: int) -> dict[str, np.ndarray]:
    """Noise in a buffer of `side` px, three quarters of it high, as most photographs are."""
    rng = np.random.default_rng(0)
    return {
        "image": rng.integers(0, 256, (batch, side, side, 3), np.uint8),
        "size": np.tile(np.array([side * 3 // 4, side], np.int32), (batch, 1)),
        "label": rng.integers(0, CLASSES, batch).astype(np.int32),
        "id": np.arange(batch, dtype=np.int32),
    }


def explain_program(model: str, size: int, batch: int, dtype, **settings):
    """A call that explains a batch by InputIBA, and how many forward passes an image takes.

    Args:
      size: px, H and W of the images, which are noise like the weights.
      **settings: of `InputIBASettings` but the layer, which is the network's last block.
    """
    model = models.create(model, num_classes=CLASSES, dtype=dtype)
    variables = models.initialize(model, 0)
    chosen = saliency.InputIBASettings(layer=model.layers[-1], **settings)
    rng = np.random.default_rng(0)
    images = jnp.asarray(rng.standard_normal((batch, size, size, 3), np.float32))
    statistics = saliency.feature_statistics(model, variables, [images, -images], chosen.layer)
    targets, keys = jnp.arange(batch) % CLASSES, jax.random.split(jax.random.key(0), batch)

    def call():
        given = {"keys": keys, "statistics": statistics, "settings": chosen}
        return saliency.input_iba(model, variables, images, targets, **given)

    return call, saliency.forwards_per_image(chosen)[0]


def _classifier(config, devices: Devices):
    return models.create(
        config.model.name,
        num_classes=CLASSES,
        dtype=devices.compute_dtype,
        phased=devices.platform == "tpu",
        drop_rate=config.model.drop_rate,
        drop_path_rate=config.model.drop_path_rate,
        bn_groups=config.finetune.bn_groups,
        axis_name=AXIS,
    )


def _drawn(model, size: int, create: Callable) -> Any:
    """`create(variables)` on the host, with random kernels and queue, without compiling anything.

    The network's own `init` takes as long to compile as a step, and each leaf's copy a moment.
    """
    images = jax.ShapeDtypeStruct((1, size, size, 3), jnp.float32)
    init = functools.partial(model.init, train=False)
    shapes = jax.eval_shape(lambda *args: create(init(*args)), jax.random.key(0), images)
    rng = np.random.default_rng(0)

    def draw(path, leaf):
        name = jax.tree_util.keystr(path)
        if "opt_state" in name:  # a fresh optimizer knows nothing
            return np.zeros(leaf.shape, leaf.dtype)
        if name.endswith("['kernel']"):
            scale = np.sqrt(2 / np.prod(leaf.shape[:-1]))
            return (scale * rng.standard_normal(leaf.shape, np.float32)).astype(leaf.dtype)
        if name.endswith(".queue"):
            queue = rng.standard_normal(leaf.shape, np.float32)
            return queue / np.linalg.norm(queue, axis=-1, keepdims=True)
        return np.full(leaf.shape, name.endswith(("['scale']", "['var']")), leaf.dtype)

    return jax.tree_util.tree_map_with_path(draw, shapes)
