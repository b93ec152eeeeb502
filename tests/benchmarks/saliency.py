"""InputIBA in batches against the authors' way: one image at a time, in eager PyTorch.

    python tests/benchmarks/saliency.py --model=efficientnet_b4 --size=300 --dtype=bfloat16
    python tests/benchmarks/saliency.py --quick                   a toy network, a minute

Seconds an image of either prior, ours beside `_input_iba_torch.py` with the same network, settings
and device in alternating windows; arithmetic of every stage as XLA counts it; how alike the maps of
the two priors are, beside how alike the maps of one prior are with other noise. timm's network has
our weights; without torch and timm only ours is measured. On a CPU look at processors' time: ours
takes all cores, torch one thread, for on a busy machine its threads wait for each other in vain.
With the prior `gan` an image takes minutes there; `--priors=iba` times only the quick one.
"""

import argparse
import importlib.util
import os
import pathlib
import sys
import time

os.environ.setdefault("XLA_PYTHON_CLIENT_PREALLOCATE", "false")  # torch shares the device
HERE = pathlib.Path(__file__).resolve().parent
sys.path += [str(HERE), str(HERE.parents[1])]  # after an installed package, if there is one

import _saliency_cost  # noqa: E402
import _timm  # noqa: E402
import _torch_step  # noqa: E402
import jax  # noqa: E402
import jax.numpy as jnp  # noqa: E402
import numpy as np  # noqa: E402
from _report import Report  # noqa: E402
from scipy import ndimage, stats  # noqa: E402

from dermjax import models, saliency  # noqa: E402
from dermjax.models import timm as converter  # noqa: E402
from dermjax.saliency import bottleneck, prior  # noqa: E402

# Everything there is, in little.
QUICK = {"steps_feature": 2, "steps_input": 2, "draws": 2, "gan_epochs": 1, "gan_samples": 20}
# Theirs -> ours, of the settings that --quick changes.
SAME = {
    "feature_steps": "steps_feature",
    "input_steps": "steps_input",
    "draws": "draws",
    "gan_epochs": "gan_epochs",
    "gan_samples": "gan_samples",
}
TEXT = {"gan": "with a GAN for each image", "iba": "without a GAN"}


class Benchmark:
    """The measurements; each adds its own rows to the report."""

    def __init__(self, args, report: Report):
        self.args, self.report, self.times = args, report, {}
        self.model, self.variables = models.create_model(
            args.model, args.classes, args.weights or None, dtype=jnp.dtype(args.dtype)
        )
        layer = args.layer or self.model.layers[-1]
        changes = QUICK if args.quick else {}
        self.settings = {
            name: saliency.InputIBASettings(layer=layer, prior=name, **changes)
            for name in ("iba", "gan")
        }
        self.images, others = photographs(self.model.preprocessing, args.size, args.images)
        self.statistics = saliency.feature_statistics(self.model, self.variables, others, layer)
        logits = jax.jit(lambda v, x: self.model.apply(v, x, train=False))
        self.targets = logits(self.variables, self.images).argmax(-1).astype(jnp.int32)

    def cost(self) -> None:
        """Arithmetic of every stage."""
        cost = _saliency_cost.Cost(self.model, self.variables, self.args.size, self.settings["gan"])
        total = {"ours": 0.0, "theirs": 0.0}
        for stage, (ours, theirs) in cost.stages().items():
            total = {"ours": total["ours"] + ours, "theirs": total["theirs"] + theirs}
            self._cost_row(stage, ours, theirs)
        self._cost_row("gan", total["ours"], total["theirs"])
        quick = [cost.stages()[stage] for stage in ("feature", "input")]
        self._cost_row("iba", sum(ours for ours, _ in quick), total["theirs"])

    def _cost_row(self, stage, ours, theirs) -> None:
        told = _saliency_cost.TABLE.get((self.args.model, self.args.size), {}).get(stage)
        what = {"gan": "whole with a GAN", "iba": "whole without a GAN"}.get(stage, stage)
        hint = f"XLA's count of an image's {what}; by the authors' code {theirs / 1e12:.3g} TFLOP"
        hint += f", {theirs / ours:.1f} times as much"
        hint += f"; by hand {told:.3g}" if told and not self.args.quick else ""
        self.report.add(f"flop/{stage}", ours / 1e12, "TFLOP", hint, reference=theirs / 1e12)

    def speed(self, name: str) -> None:
        """Ours and the reference in alternating windows."""
        calls = {"ours": self._ours(name)}
        if lacking := _timm.missing() or _lacks_resize():
            hint = f"the reference needs {lacking}: pip install -e '.[parity]'"
            self.report.add(f"ratio/{name}", unit="skipped", hint=hint, status="skipped")
        else:
            calls["reference"] = self._reference(name)
        times = alternate(calls, self.args.windows)
        for who, (wall, processor) in times.items():
            hint = f"InputIBA {TEXT[name]}, {who}; {1e3 * processor:,.0f} ms of processors"
            self.report.add(f"seconds/{name}-{who}", wall, "s/image", hint, processor=processor)
        if len(times) == 2:
            wall, processor = (theirs / ours for ours, theirs in zip(*times.values(), strict=True))
            hint = (
                f"reference over ours, an image {TEXT[name]}; of processors' time {processor:.1f}"
            )
            self.report.add(f"ratio/{name}", wall, "times", hint, processor=processor)
        self.times |= {(name, who): passed for who, passed in times.items()}

    def defaults(self) -> None:
        """Ours as it is called over theirs as it is called, where both were timed."""
        ours, theirs = (self.times.get(key) for key in (("iba", "ours"), ("gan", "reference")))
        if ours and theirs:
            wall, processor = (b / a for a, b in zip(ours, theirs, strict=True))
            hint = (
                "reference with a GAN, as the authors run it, over ours without one, its default; "
            )
            hint += f"of processors' time {processor:.1f}"
            self.report.add("ratio/default", wall, "times", hint, processor=processor)

    def agreement(self) -> None:
        """How much the GAN changes, and how much the noise does."""
        keys = self._keys(0), self._keys(1)
        quick, exact = (self._maps(name, keys[0]) for name in ("iba", "gan"))
        pairs = {
            "priors": (quick, exact, "with and without a GAN from the same noise"),
            "noise": (quick, self._maps("iba", keys[1]), "without a GAN from other noise"),
        }
        for id, (first, second, what) in pairs.items():
            ranks = [
                stats.spearmanr(a, b, axis=None)[0] for a, b in zip(first, second, strict=True)
            ]
            alike = [similarity(a, b) for a, b in zip(first, second, strict=True)]
            count = f"mean of {len(first)} images, maps {what}"
            hint = f"Spearman's correlation of pixels, {count}"
            self.report.add(f"agreement/{id}-spearman", float(np.mean(ranks)), hint=hint)
            hint = f"structural similarity, {count}"
            self.report.add(f"agreement/{id}-ssim", float(np.mean(alike)), hint=hint)
        self._displacement(keys[0])

    def _displacement(self, keys) -> None:
        given = {"keys": keys, "settings": self.settings["gan"]}
        both = self.model, self.variables, self.images
        found = bottleneck.feature_iba(*both, self.targets, statistics=self.statistics, **given)
        mask = prior.gan_prior(*both, bottleneck=found, **given).mask
        size = self.args.size, self.args.size
        start = np.asarray(bottleneck.bits_per_pixel(found.capacity, size))
        mask = np.asarray(mask, np.float64).clip(1e-7, 1 - 1e-7)
        moved = np.abs(np.log(mask) - np.log1p(-mask) - start[..., None])
        hint = f"how far the GAN moves the prior's logits from {start.min():.2g} to "
        hint += f"{start.max():.2g}; at most {moved.max():.2g}"
        self.report.add("agreement/moved", float(moved.mean()), "mean", hint)

    def _keys(self, seed: int):
        return jax.random.split(jax.random.key(seed), len(self.images))

    def _maps(self, name: str, keys) -> np.ndarray:
        return np.asarray(
            saliency.input_iba(
                self.model,
                self.variables,
                self.images,
                self.targets,
                keys=keys,
                statistics=self.statistics,
                settings=self.settings[name],
            )
        )

    def _ours(self, name: str):
        """A call, how many images it explains."""
        keys = self._keys(0)
        return lambda: self._maps(name, keys), len(self.images)

    def _reference(self, name: str):
        """The same of one image, as the authors' code takes them."""
        import _input_iba_torch as statement
        import torch

        device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
        torch.set_num_threads(self.args.threads)
        settings = self.settings[name]
        explainer = statement.InputIBA(
            *cut(self._timm_network().to(device), settings.layer),
            statement.Statistics(
                *(
                    torch.tensor(np.array(of)).movedim(-1, 0).to(device)
                    for of in (
                        self.statistics.mean,
                        self.statistics.std,
                        self.statistics.active,
                    )
                )
            ),
            statement.random_noise(0, device),
            statement.Settings(
                prior=name, **{theirs: getattr(settings, ours) for theirs, ours in SAME.items()}
            ),
        )
        image = torch.tensor(np.array(self.images[0])).movedim(-1, 0).contiguous().to(device)
        return lambda: explainer.explain(image, int(self.targets[0])).map.cpu(), 1

    def _timm_network(self):
        import torch

        net = _torch_step.make_network(self.args.model, self.args.classes)
        weights = converter.to_timm(self.variables)
        state = {name: torch.tensor(np.array(array)) for name, array in weights.items()}
        rest = net.load_state_dict(state, strict=False)
        strange = [name for name in rest.missing_keys if "num_batches_tracked" not in name]
        if strange or rest.unexpected_keys:
            raise ValueError(f"timm's {self.args.model} is another: {strange[:3]}")
        return net.eval().requires_grad_(False)


def cut(net, layer: str):
    """timm's EfficientNet up to a stage's end, and from there on."""
    end = int(layer.removeprefix("blocks.")) + 1
    return (
        lambda images: net.blocks[:end](net.bn1(net.conv_stem(images))),
        lambda x: net.forward_head(net.bn2(net.conv_head(net.blocks[end:](x)))),
    )


def photographs(preprocessing, size: int, count: int):
    """`count` normalised images, and batches for the layer's statistics.

    Cut from scikit-image's photographs; where it is missing, from smooth noise.
    """
    try:
        from skimage import data

        whole = [data.chelsea(), data.coffee(), data.astronaut(), data.rocket()]
    except ImportError:
        noise = np.random.default_rng(0).normal(size=(4, 300, 400, 3))
        noise = 128 + 300 * ndimage.gaussian_filter(noise, (0, 6, 6, 0))
        whole = list(noise.clip(0, 255).astype(np.uint8))
    draw, images = np.random.default_rng(0), []
    for i in range(count + 64):
        image = whole[i % len(whole)]
        side = int(min(image.shape[:2]) * (1 if i < len(whole) else draw.uniform(0.5, 1)))
        top, left = (draw.integers(0, edge - side + 1) for edge in image.shape[:2])
        if i < len(whole):
            top, left = ((edge - side) // 2 for edge in image.shape[:2])
        square = image[top : top + side, left : left + side] / 255
        square = ndimage.zoom(square, (size / side, size / side, 1), order=1)
        images.append(((square - preprocessing.mean) / preprocessing.std).astype(np.float32))
    rest = np.stack(images[count:])
    return jnp.asarray(np.stack(images[:count])), [rest[i : i + 16] for i in range(0, 64, 16)]


def alternate(calls: dict, windows: int) -> dict[str, tuple[float, float]]:
    """name -> median seconds and processor seconds an image, over windows of one call each.

    Args:
        calls: name -> a function that waits for its result, and how many images that is.
    """
    times = {name: [] for name in calls}
    for window in range(windows + 1):
        for name, (call, images) in calls.items():
            wall, processor = time.perf_counter(), time.process_time()
            call()
            if window:  # the first one compiles, and chooses algorithms
                passed = time.perf_counter() - wall, time.process_time() - processor
                times[name].append(np.array(passed) / images)
    return {name: tuple(map(float, np.median(rows, axis=0))) for name, rows in times.items()}


def similarity(a: np.ndarray, b: np.ndarray, window: int = 5) -> float:
    """Structural similarity of two maps in [0, 1] (Wang et al. 2004), uniform windows, in px."""
    a, b = a.astype(np.float64), b.astype(np.float64)
    mean = lambda x: ndimage.uniform_filter(x, window)  # noqa: E731
    centre_a, centre_b = mean(a), mean(b)
    spread_a, spread_b = mean(a * a) - centre_a**2, mean(b * b) - centre_b**2
    common = mean(a * b) - centre_a * centre_b
    light = (2 * centre_a * centre_b + 1e-4) / (centre_a**2 + centre_b**2 + 1e-4)
    return float((light * (2 * common + 9e-4) / (spread_a + spread_b + 9e-4)).mean())


def _lacks_resize() -> str:
    """The package that enlarges maps as the authors do, where it is not there."""
    return "" if importlib.util.find_spec("skimage") else "scikit-image"


def main() -> None:
    """Runs what was asked for and prints the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", default="efficientnet_b0", help="an EfficientNet")
    parser.add_argument("--weights", default="", help="as create_model takes them; random without")
    parser.add_argument("--classes", type=int, default=10, help="logits")
    parser.add_argument("--layer", default="", help="of `model.layers`; the last one without")
    parser.add_argument("--size", type=int, default=128, help="pixels")
    parser.add_argument("--images", type=int, default=4, help="in our batch")
    parser.add_argument("--dtype", default="float32", help="our network's; or bfloat16")
    parser.add_argument("--priors", default="iba,gan", help="to time")
    parser.add_argument("--windows", type=int, default=3, help="calls of each, after the first")
    parser.add_argument("--threads", type=int, default=1, help="of torch")
    parser.add_argument("--budget", type=float, default=1800, help="seconds; none starts later")
    parser.add_argument("--out", type=pathlib.Path, help="JSON file of all rows")
    parser.add_argument("--quick", action="store_true", help="a toy network and few steps")
    args = parser.parse_args()
    if "efficientnet" not in args.model:
        parser.error(f"--model={args.model} is no EfficientNet, which the reference is cut for")
    if args.quick:
        args.model, args.size, args.images, args.windows = "efficientnet_tiny", 32, 2, 1
    device = jax.devices()[0]
    heading = {
        "device": device.device_kind,
        "platform": device.platform,
        "jax": jax.__version__,
        "arguments": {name: str(value) for name, value in vars(args).items()},
    }
    report = Report(args.out, heading, args.budget)
    benchmark = Benchmark(args, report)
    report.attempt("flop", benchmark.cost)
    for name in filter(None, args.priors.split(",")):
        report.attempt(f"ratio/{name}", lambda name=name: benchmark.speed(name))
    report.attempt("ratio/default", benchmark.defaults)
    report.attempt("agreement", benchmark.agreement)
    what = f"{args.model}, {args.size} px, {args.images} images, {args.dtype}"
    print(f"\n{device.device_kind}, {what}, jax {jax.__version__}\n{report.table()}")


if __name__ == "__main__":
    main()
