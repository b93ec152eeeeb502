"""Our InputIBA and the authors', stated in PyTorch, stage by stage from the same noise and network.

The reference computes in double precision, so that what is measured is our rounding alone. Every
stage goes on from what ours had before it. Errors are relative to length, of a mask's logits to the
length of the way they have come.
"""

import functools
from typing import ClassVar, NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

from dermjax import saliency
from dermjax.saliency import bottleneck, critic, prior
from dermjax.saliency.input_iba import InputBottleneck, InputIBASettings, input_bottleneck
from dermjax.saliency.noise import noise, stage_key

SIDE, CHANNELS, CLASSES, LAYER = 32, 3, 5, "layer2"
FEATURES = SIDE // 4, SIDE // 4, CHANNELS
TARGETS = (1, 4)
START = 5.0  # logits of both bottlenecks' masks
# Compiling is nearly all of the time.
_COMPILE = {"xla_backend_optimization_level": 0, "xla_llvm_disable_expensive_passes": True}
_noise = jax.jit(noise, static_argnums=(1, 3))
# Few steps, and the class as dear as information. Critic and generator must move for what is wrong
# with them to show, which with the authors' rates they hardly do.
SETTINGS = InputIBASettings(
    layer=LAYER,
    prior="gan",
    beta_feature=1.0,
    beta_input=1.0,
    steps_feature=4,
    steps_input=4,
    draws=3,
    gan_epochs=2,
    gan_samples=40,
    gan_groups=4,
    gan_batch_size=6,
    critic_learning_rate=2e-4,
    critic_clip=0.1,
    mean_learning_rate=0.02,
    scale_learning_rate=0.01,
    mask_learning_rate=0.03,
)
# Theirs -> ours: the same setting under another name.
NAMES = {
    "feature_beta": "beta_feature",
    "feature_steps": "steps_feature",
    "input_beta": "beta_input",
    "input_steps": "steps_input",
    "learning_rate": "learning_rate",
    "draws": "draws",
    "sigma": "sigma",
    "gan_mask": "gan_mask",
    "gan_samples": "gan_samples",
    "gan_groups": "gan_groups",
    "gan_batch": "gan_batch_size",
    "gan_epochs": "gan_epochs",
    "generator_every": "gan_generator_every",
    "critic_rate": "critic_learning_rate",
    "clip": "critic_clip",
    "mean_rate": "mean_learning_rate",
    "scale_rate": "scale_learning_rate",
    "mask_rate": "mask_learning_rate",
}


class Network(nn.Module):
    """The smallest network with sections; its layer ends in a ReLU."""

    layers: ClassVar[tuple[str, ...]] = ("layer1", "layer2")

    @nn.compact
    def __call__(self, images, train=False, *, start="", stop=""):
        x = images
        if start != LAYER:
            x = nn.silu(nn.Conv(6, (3, 3), strides=2, padding=1, name="conv1")(x))
            x = nn.relu(nn.Conv(CHANNELS, (3, 3), strides=2, padding=1, name="conv2")(x))
        if stop == LAYER:
            return x
        x = nn.silu(nn.Conv(8, (3, 3), padding=1, name="conv3")(x))
        return nn.Dense(CLASSES, name="classifier")(x.mean((1, 2)))


MODEL = Network()


class Record(NamedTuple):
    """What ours computed of each image, of NumPy arrays in double precision."""

    variables: dict
    images: np.ndarray  # `[B, H, W, 3]`
    keys: jax.Array
    statistics: bottleneck.FeatureStatistics
    feature: bottleneck.FeatureBottleneck
    prior: prior.GanPrior
    input: InputBottleneck


def record() -> Record:
    """Runs the stages of ours on two images, in double precision.

    In single precision the comparison would be of luck: RMSprop's first steps are the gradients'
    signs, and a critic's steps magnify what rounding makes of them.
    """
    variables, images, others = inputs()
    keys, targets = jax.random.split(jax.random.key(1), len(TARGETS)), jnp.array(TARGETS)
    statistics = saliency.feature_statistics(MODEL, variables, others, LAYER)
    starts = jax.vmap(lambda key: stage_key(key, "gan_critic", 0))(keys)
    critics = critic.initialize(starts, FEATURES)
    with jax.enable_x64(True):
        wide = _double((variables, images))
        given = {"keys": keys, "settings": SETTINGS}

        def stages(variables, images, critics, statistics):
            both = MODEL, variables, images, targets
            feature = bottleneck.feature_iba(*both, statistics=statistics, **given)
            learned = prior.gan_prior(*both[:3], bottleneck=feature, critics=critics, **given)
            return feature, learned, input_bottleneck(*both, prior=learned.mask, **given)

        arguments = *wide, _double(critics), statistics
        compiled = jax.jit(stages).lower(*arguments).compile(compiler_options=_COMPILE)
        done = jax.device_get((statistics, *compiled(*arguments)))
    return Record(variables, images, keys, *done)


def inputs():
    """Variables of `MODEL`, two images, and batches for the statistics."""
    draw = np.random.default_rng(0)
    images = draw.normal(size=(len(TARGETS), SIDE, SIDE, 3)).astype(np.float32)
    others = draw.normal(size=(3, 5, SIDE, SIDE, 3)).astype(np.float32)
    shapes = jax.eval_shape(MODEL.init, jax.random.key(0), images)

    def fill(leaf):
        """Large: the class must be felt beside the price of information."""
        return (2 * draw.normal(size=leaf.shape) / max(4, leaf.size) ** 0.4).astype(np.float32)

    variables = jax.tree.map(fill, shapes)
    variables["params"]["conv2"]["bias"][0] -= 2  # some elements are zero in all images
    return variables, images, list(others)


def _double(tree):
    return jax.tree.map(lambda leaf: np.asarray(leaf, np.float64), tree)


def errors(record: Record, stage: str, *, reference=None, **settings) -> dict[str, float]:
    """The worst image's error of each quantity of a stage: `feature`, `prior` or `input`.

    Args:
      reference: the class; a wrong one shows what the comparison notices.
      settings: what the reference has otherwise than ours.
    """
    import torch

    measure = {"feature": _feature_errors, "prior": _prior_errors, "input": _input_errors}[stage]
    threads = torch.get_num_threads()
    torch.set_num_threads(1)  # for tensors this small, more only wait for each other
    images = []
    for place, target in enumerate(TARGETS):
        explainer = torch_explainer(
            record.variables, record.statistics, record.keys[place], reference=reference, **settings
        )
        images.append(measure(record, place, explainer, to_torch(record.images[place]), target))
    torch.set_num_threads(threads)
    return {name: max(one[name] for one in images) for name in images[0]}


def torch_explainer(
    variables, statistics, key, *, reference=None, ours=SETTINGS, wide=True, **settings
):
    """The reference with our network and settings, and what we draw, `wide` in 64 bits."""
    import _input_iba_torch as statement
    import torch

    same = {name: getattr(ours, of) for name, of in NAMES.items()}
    moments = [to_torch(of) for of in (statistics.mean, statistics.std, statistics.active)]
    return (reference or statement.InputIBA)(
        *torch_network(variables),
        statement.Statistics(*moments),
        functools.partial(torch_noise, key, wide=wide),
        statement.Settings(**{**same, **settings}),
        dtype=torch.float64,
        make_critic=functools.partial(torch_critic, key),
    )


def _feature_errors(record: Record, place: int, explainer, image, target) -> dict[str, float]:
    ours, losses = record.feature, record.feature.losses
    theirs = explainer.feature_bottleneck(image, target)
    with jax.enable_x64(True):
        bits = bottleneck.bits_per_pixel(ours.capacity, (SIDE, SIDE))[place]
    return {
        "logits": relative(ours.logits[place] - START, _last(theirs.logits) - START),
        "capacity": relative(ours.capacity[place], _last(theirs.capacity)),
        "saliency": relative(bits, theirs.saliency),
        "class": relative(losses["class"][:, place], theirs.cross_entropies),
        "information": relative(losses["information"][:, place], theirs.divergences),
    }


def _prior_errors(record: Record, place: int, explainer, image, target) -> dict[str, float]:
    del target
    given = explainer.given_feature(
        to_torch(record.feature.logits[place]), to_torch(record.feature.capacity[place]), image
    )
    theirs, mask = explainer.prior(image, given), record.prior.mask[place]
    moved = np.log(mask) - np.log1p(-mask) - _last(given.saliency.expand_as(image))
    losses = {name: of[:, place] for name, of in record.prior.losses.items()}
    learned = losses["generator"][~np.isnan(losses["generator"])]
    return {
        "moved": relative(moved, _last(theirs.logits - given.saliency)),
        "critic": relative(losses["critic"], theirs.critic_losses),
        "generator": relative(learned, theirs.generator_losses),
    }


def _input_errors(record: Record, place: int, explainer, image, target) -> dict[str, float]:
    ours, losses = record.input, record.input.losses
    mask = to_torch(record.prior.mask[place])
    theirs = explainer.input_bottleneck(image, target, mask.logit())
    return {
        "logits": relative(ours.logits[place] - START, _last(theirs.logits) - START),
        "class": relative(losses["class"][:, place], theirs.cross_entropies),
        "information": relative(losses["information"][:, place], theirs.divergences),
    }


def torch_network(variables):
    """`Network` in PyTorch, cut at its layer: two functions of float64 tensors."""
    import torch
    from torch.nn import functional as F

    weights = jax.tree.map(lambda leaf: torch.tensor(leaf).double(), variables["params"])

    def conv(x, name, stride=1):
        kernel, bias = weights[name]["kernel"].permute(3, 2, 0, 1), weights[name]["bias"]
        return F.conv2d(x, kernel, bias, stride=stride, padding=1)

    def to_layer(images):
        return F.relu(conv(F.silu(conv(images, "conv1", 2)), "conv2", 2))

    def from_layer(x):
        dense = weights["classifier"]
        return F.silu(conv(x, "conv3")).mean((2, 3)) @ dense["kernel"] + dense["bias"]

    return to_layer, from_layer


def torch_noise(key, stage: str, step: int, shape, wide: bool = True):
    """The numbers of ours, of one image; images and features with channels in front."""
    import torch

    if len(shape) == 4:
        shape = shape[0], *shape[2:], shape[1]
    with jax.enable_x64(wide):
        numbers = torch.tensor(np.array(_noise(key, stage, step, shape)))
    return numbers.movedim(-1, 1) if len(shape) == 4 else numbers


def torch_critic(key, channels: int, height: int, width: int):
    """The critic that ours starts from."""
    import _input_iba_torch as statement
    import torch

    keys = stage_key(key, "gan_critic", 0)[None]
    params = critic.initialize(keys, (height, width, channels))
    params = jax.tree.map(lambda leaf: torch.tensor(np.array(leaf[0])), params)
    net, flat = statement.Critic(channels, height, width), (height // 4, width // 4, channels)
    # Ours flattens channels last, theirs first.
    first = params["fc1"]["kernel"].unflatten(0, flat).permute(2, 0, 1, 3).flatten(0, 2)
    state = {"dense.0.weight": first.T}
    for i in range(3):
        state[f"convs.{i}.weight"] = params[f"conv{i + 1}"]["kernel"].permute(3, 2, 0, 1)
        state[f"convs.{i}.bias"] = params[f"conv{i + 1}"]["bias"]
        state[f"norms.{i}.weight"] = params[f"bn{i + 1}"]["scale"]
        state[f"norms.{i}.bias"] = params[f"bn{i + 1}"]["bias"]
        state[f"dense.{i}.bias"] = params[f"fc{i + 1}"]["bias"]
        if i:
            state[f"dense.{i}.weight"] = params[f"fc{i + 1}"]["kernel"].T
    net.load_state_dict(state, strict=False)  # but for the running statistics, unused
    return net


def relative(ours, theirs) -> float:
    """Length of the difference over length; infinite where there are more or fewer."""
    ours, theirs = np.asarray(ours, np.float64), np.asarray(theirs, np.float64)
    if ours.shape != theirs.shape:
        return float("inf")
    difference = np.linalg.norm(ours - theirs)
    return float(difference / np.linalg.norm(theirs))


def to_torch(array, channels: int = 0):
    """Channels from the end to that axis, in double precision but for truth values."""
    import torch

    tensor = torch.tensor(np.array(array)).movedim(-1, channels)
    return tensor if tensor.dtype == torch.bool else tensor.double()


def _last(tensor) -> np.ndarray:
    """Channels from the front to the end."""
    return tensor.movedim(0, -1).numpy()
