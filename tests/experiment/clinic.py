"""A clinic in miniature: photographs, a manifest, and a config that trains in seconds."""

import contextlib
import csv

import numpy as np
import pytest
from ml_collections import ConfigDict
from PIL import Image

from dermjax import models
from dermjax.configs import common
from dermjax.settings import RunSettings

CLASSES = {"acne": (200, 60, 60), "eczema": (90, 160, 90), "rosacea": (80, 90, 190)}
IMAGES_PER_PATIENT, PATIENTS = 2, 9
# Of a run that is started as a command: what makes it one of seconds, without lengths.
TINY_FIELDS = {
    "model.name": "efficientnet_tiny",
    "control": False,
    "data.max_side": 32,
    "data.workers": 1,
    "pretrain.batch_size": 16,
    "pretrain.image_size": 16,
    "pretrain.queue_size": 24,
    "pretrain.warmup_steps": 1,
    "pretrain.dim": 8,
    "pretrain.hidden_dim": 16,
}
TINY_FINETUNE_FIELDS = {
    "finetune.batch_size": 16,
    "finetune.image_size": 16,
    "finetune.warmup_steps": 1,
}


def write_clinic(folder, seed=0):
    """27 patients with two photographs each, coloured by class; returns the manifest's path."""
    rng = np.random.default_rng(seed)
    (folder / "photos").mkdir(parents=True)
    rows = []
    for label, colour in CLASSES.items():
        for patient in range(PATIENTS):
            for number in range(IMAGES_PER_PATIENT):
                pixels = np.clip(rng.normal(colour, 40, (40, 48, 3)), 0, 255).astype(np.uint8)
                name = f"photos/{label}-{patient}-{number}.png"
                Image.fromarray(pixels).save(folder / name)
                rows.append({"image": name, "label": label, "patient": f"{label}{patient}"})
    path = folder / "photos.csv"
    with path.open("w", newline="") as file:
        writer = csv.DictWriter(file, rows[0])
        writer.writeheader()
        writer.writerows(rows)
    return path


@contextlib.contextmanager
def cache_in(folder):
    """Prepared photographs are cached in the folder, not in the user's home."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("DERMJAX_CACHE", str(folder / "cache"))
        yield


def write_weights(folder, mean=(0.1, 0.9, 0.2), seed=9):
    """A network of other classes, as somebody else's training left it; returns the file's path."""
    preprocessing = models.Preprocessing(mean=mean, interpolation="bilinear")
    model = models.create("efficientnet_tiny", num_classes=7).clone(preprocessing=preprocessing)
    path = folder / f"weights{seed}.safetensors"
    models.save_weights(path, model, models.initialize(model, seed))
    return path


def tiny_config(strategy: str, manifest, **fields) -> ConfigDict:
    """A run of seconds; `fields` such as `data__alpha=0.5` override."""
    config = common.make_config(strategy, f"alpha=0.5,scale=demo,data={manifest}")
    config.model.update(dict(name="efficientnet_tiny", drop_rate=0.2, drop_path_rate=0.1))
    config.control = False
    config.data.max_side = 32
    config.data.workers = 1
    if "pretrain" in config:
        config.pretrain.update(
            dict(steps=6, batch_size=16, image_size=16, queue_size=24, dim=8, hidden_dim=16)
        )
        config.pretrain.update(dict(learning_rate=5e-4, warmup_steps=1))
        config.pretrain.update(dict(report_every=2, save_every=2, bn_groups=8))
    config.finetune.update(dict(steps=6, batch_size=16, image_size=16))
    config.finetune.update(dict(learning_rate=1e-3, warmup_steps=1))
    config.finetune.update(dict(report_every=2, evaluate_every=2))
    config.evaluate.batch_size = 16
    return with_fields(config, fields)


def tiny_settings(strategy: str, manifest, **fields) -> RunSettings:
    """The typed settings of such a run."""
    return RunSettings.from_config(tiny_config(strategy, manifest, **fields))


def with_fields(config: ConfigDict, fields: dict) -> ConfigDict:
    """The config with `part__field=value` set; also fields that it did not have."""
    for name, value in fields.items():
        section = config
        *path, leaf = name.split("__")
        for part in path:
            section = section[part]
        with section.unlocked():
            section[leaf] = value
    return config
