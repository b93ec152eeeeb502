"""Maps of samples: methods by their names, batches that fit the memory, noise of each image's own.

Letters: b images of this device, H = W px, L the layer, `[h, w, C]` its output.
"""

import functools
import hashlib
import os
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import flax.linen as nn
import jax
import numpy as np
from scipy import special

from dermjax import saliency as methods
from dermjax.data import augment
from dermjax.models import Preprocessing
from dermjax.saliency import baselines, repeatability
from dermjax.saliency.samples import Sample
from dermjax.saliency.settings import SaliencySettings
from dermjax.training import parallel
from dermjax.training.writer import Writer

WITH_STATISTICS = WITH_NOISE = ("input_iba", "input_iba_gan", "iba")
# How a layer's bits continue to the image's border. Maps of earlier versions, which held the value
# of the outer cells, have no such entry: they are made anew, so that no page compares both kinds.
_FEATURE_BORDER = {"feature_border": "mirrored"}
_PREDICTED = 16  # images in a batch of plain predictions
# Images in a batch for each device: more gain no speed, and a kill would lose more.
_MOST, _MOST_ON_CPU = 64, 8
_MOST_GANS_ON_CPU = 1  # minutes each, and their 32 samples are a batch
_ANY = 10**9  # more images than any batch
# Bytes that a backward pass to the image keeps, per byte of all outputs of layers: the inputs of
# activations and gates, not those of convolutions, whose kernels have no gradient here.
_RESIDUALS = 1.0
_SHARE = 0.6  # of the free memory that the automatic choice counts with


class Explainer:
    """A run's network, ready to predict and to explain."""

    def __init__(
        self,
        settings: SaliencySettings,
        model: nn.Module,
        variables: Any,
        preprocessing: Preprocessing,
        devices: parallel.Devices,
        *,
        image_size: int,
        writer: Writer,
    ):
        """Args:
        settings: which layer, how many repeats, how much of each method.
        model: images `[b, H, W, 3]` -> logits, with layers.
        image_size: H.
        """
        self.model, self.variables, self.size = model, variables, image_size
        self.layer = layer_of(model, settings.layer)
        self.interpolation = preprocessing.interpolation
        self._settings, self._devices, self._writer = settings, devices, writer
        self._steps: dict[str, Callable] = {}  # compiled, by method
        self.normalize = functools.partial(
            augment.normalize, mean=preprocessing.mean, std=preprocessing.std
        )

    @functools.cached_property
    def fingerprint(self) -> str:
        """A hash of all weights."""
        digest = hashlib.sha256()
        for leaf in jax.tree.leaves(self.variables):
            digest.update(np.asarray(leaf).tobytes())
        return digest.hexdigest()[:16]

    def input(self, samples: Sequence[Sample]) -> np.ndarray:
        """`[len(samples), H, W, 3]` uint8."""
        return np.stack([one.input(self.size, self.interpolation) for one in samples])

    def probabilities(self, samples: Sequence[Sample]) -> np.ndarray:
        """`[len(samples), N]` float64, of every class."""
        logits = []
        for first in range(0, len(samples), _PREDICTED):
            images = self.input(samples[first : first + _PREDICTED])
            logits.append(self.logits(np.asarray(self.normalize(images), np.float32)))
        return special.softmax(np.concatenate(logits).astype(np.float64), axis=-1)

    @functools.cached_property
    def _predict(self):
        def step(variables, batch):
            return self.model.apply(variables, batch["image"], train=False)

        return self._devices.map_predict_step(step)

    def logits(self, images: np.ndarray) -> np.ndarray:
        """`[n, H, W, 3]` float32, normalised -> `[n, N]` float32."""
        size, found = self._rounded(_PREDICTED), []
        for first in range(0, len(images), size):
            part = images[first : first + size]
            found.append(self._predict(self.variables, {"image": _padded(part, size)})[: len(part)])
        return np.concatenate(found).astype(np.float32)

    def statistics(self, batches, variables: Any = None) -> Any:
        """Mean and deviation of the layer's output over training images, for the bottlenecks.

        Args:
          batches: of `[B, H, W, 3]` uint8.
          variables: of the network; None: as it was trained.
        """
        normalized = (self.normalize(batch) for batch in batches)
        return methods.feature_statistics(
            self.model, variables or self.variables, normalized, self.layer
        )

    def maps(
        self,
        method: str,
        samples: Sequence[Sample],
        targets: Sequence[int],
        statistics: Any,
        *,
        variables: Any = None,
        first: int = 0,
    ) -> Iterator[np.ndarray]:
        """Every sample's maps `[repeats, H, W]` float32, one of each noise, in order.

        An image's maps depend on the image, its name and the seed, not on the others in its batch.
        Where the memory is too small for a batch, smaller ones are taken.

        Args:
          variables: of the network; None: as it was trained.
          first: number of the first noise; from `repeats` on the noise is another than by default.

        Raises:
          ValueError: not even one image for each device fits.
        """
        tree = {"variables": variables or self.variables, "statistics": statistics}
        if method not in self._steps:
            self._steps[method] = self._devices.map_predict_step(self._step(method))
        numbers = range(first, first + self.repeats(method))
        size, done = self._batch(method, len(samples)), 0
        while done < len(samples):
            part = samples[done : done + size]
            batch = self._put(part, targets[done : done + size], size)
            try:
                maps = [self._steps[method](tree, self._keyed(batch, part, n)) for n in numbers]
            except jax.errors.JaxRuntimeError as error:
                if "RESOURCE_EXHAUSTED" not in str(error):
                    raise
                size = self._smaller(size)
                continue
            yield from np.stack(maps, axis=1).astype(np.float32)[: len(part)]
            done += len(part)

    def repeats(self, method: str) -> int:
        """Maps with noise of their own whose mean a map is; 1 for methods without noise."""
        return self._settings.repeats if method in WITH_NOISE else 1

    def settings(self, method: str) -> dict[str, Any]:
        """All that a map of this method depends on beside image and target."""
        found = {"method": method, "network": self.fingerprint, "image_size": self.size}
        found["seed"] = self._settings.seed
        if method in (*WITH_STATISTICS, "grad_cam"):
            found["layer"] = self.layer
        if method in WITH_STATISTICS:
            found |= _effective(
                self._settings.input_iba.to_dict(), self._settings.prior_of(method), method
            )
            found |= _FEATURE_BORDER
        if method in WITH_NOISE:
            found["repeats"] = self.repeats(method)
        if method == "integrated_gradients":
            found |= self._settings.integrated_gradients.to_dict()
        return found

    def _step(self, method: str):
        """`({variables, statistics}, batch) -> maps [b, H, W]` of one device's share."""
        settings = self._settings

        def step(tree, batch):
            images, keys = self.normalize(batch["image"]), jax.random.wrap_key_data(batch["key"])
            given = (self.model, tree["variables"], images, batch["target"])
            if method in WITH_STATISTICS:
                numbers = settings.input_iba.of_layer(self.layer, settings.prior_of(method))
                function = methods.iba if method == "iba" else methods.input_iba
                named = {"statistics": tree["statistics"], "settings": numbers}
                return function(*given, keys=keys, **named)
            if method == "grad_cam":
                return baselines.grad_cam(*given, keys=keys, layer=self.layer)
            if method == "integrated_gradients":
                steps = settings.integrated_gradients.steps
                return baselines.integrated_gradients(*given, keys=keys, steps=steps)
            return baselines.random_map(*given, keys=keys)

        return step

    def _put(self, samples, targets, size: int) -> dict[str, np.ndarray]:
        batch = {"image": self.input(samples), "target": np.asarray(targets, np.int32)}
        return {name: _padded(values, size) for name, values in batch.items()}

    def _keyed(self, batch, samples, number: int) -> dict[str, np.ndarray]:
        keys = np.stack(
            [repeatability.key(self._settings.seed, one.name, number) for one in samples]
        )
        return batch | {"key": _padded(keys, len(batch["image"]))}

    def _batch(self, method: str, count: int) -> int:
        """Images at a time, over all devices."""
        size = self._settings.images_per_batch or self._fitting(method)
        return self._rounded(min(size, max(count, 1)))

    def _fitting(self, method: str) -> int:
        """An estimate from the layers' outputs and the free memory; `maps` mends one too high."""
        most = _MOST_ON_CPU if self._devices.platform == "cpu" else _MOST
        if method == "random":
            return most * self._devices.count
        draws = {"grad_cam": 1, "integrated_gradients": 1}.get(method, 10)
        if method.startswith("input_iba") and self._settings.prior_of(method) == "gan":
            draws = 32
            most = min(most, _MOST_GANS_ON_CPU) if self._devices.platform == "cpu" else most
        shape = jax.ShapeDtypeStruct((1, self.size, self.size, 3), np.float32)
        outputs = jax.eval_shape(
            lambda v, x: self.model.apply(
                v, x, train=False, capture_intermediates=True, mutable=["intermediates"]
            )[1],
            self.variables,
            shape,
        )
        each = sum(x.size * x.dtype.itemsize for x in jax.tree.leaves(outputs))
        fitting = _SHARE * _free_memory(self._devices) / (draws * _RESIDUALS * each)
        return min(max(int(fitting), 1), most) * self._devices.count

    def given(self, samples: Sequence[Sample], targets: Sequence[int]) -> dict[str, np.ndarray]:
        """Images, targets and keys of at most as many samples as devices, a row for each device."""
        return self._keyed(self._put(samples, targets, self.devices.count), samples, 0)

    def forwards(self) -> int:
        """Images that a device predicts at once: no more than it can have Grad-CAM maps of."""
        return self._batch("grad_cam", _ANY) // self.devices.count

    @property
    def devices(self) -> parallel.Devices:
        return self._devices

    def _rounded(self, size: int) -> int:
        """Up to a multiple of the devices."""
        return -(-size // self._devices.count) * self._devices.count

    def _smaller(self, size: int) -> int:
        """Half of a batch that did not fit.

        Raises:
          ValueError: it had one image for each device.
        """
        if size <= self._devices.count:
            raise ValueError(
                f"one image of {self.size} px does not fit into the memory of a "
                f"{self._devices.kind}; take a larger device, or --config.method=grad_cam"
            )
        smaller = self._rounded(size // 2)
        self._writer.say(f"{size} images at a time do not fit into the memory: {smaller} from here")
        return smaller


def layer_of(model: nn.Module, asked: str) -> str:
    """The layer of the bottleneck: the one asked for, or the network's usual one.

    InputIBA's authors take the last block of EfficientNet-B4 and `layer3` of ResNets.

    Raises:
      ValueError: the network has no such layer.
    """
    if not asked:
        return "layer3" if "layer3" in model.layers else model.layers[-1]
    if asked not in model.layers:
        raise ValueError(
            f"config.layer = {asked!r} is no layer of {model.architecture}; there are "
            f"{', '.join(model.layers)}"
        )
    return asked


def _effective(fields: dict[str, Any], prior: str, method: str) -> dict[str, Any]:
    """The fields that have a part in a method's maps."""
    if method == "iba":
        names = ("statistics_images", "beta_feature", "steps_feature", "draws", "learning_rate")
        return {name: fields[name] for name in names}
    gan = {name: value for name, value in fields.items() if name.startswith("gan_")}
    rest = {name: value for name, value in fields.items() if name not in gan}
    return {"prior": prior} | rest | (gan if prior == "gan" else {})


def _padded(values: np.ndarray, size: int) -> np.ndarray:
    """Filled to `size` by its first entry, so that one program serves all batches."""
    return np.concatenate([values, np.repeat(values[:1], size - len(values), axis=0)])


def _free_memory(devices: parallel.Devices) -> float:
    """Bytes of each device."""
    stats = devices.mesh.devices.flat[0].memory_stats() or {}
    if "bytes_limit" in stats:
        return float(stats["bytes_limit"] - stats.get("bytes_in_use", 0))
    try:
        free = os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    except (ValueError, OSError, AttributeError):
        free = 4e9
    return free / devices.count  # CPU devices share the machine's
