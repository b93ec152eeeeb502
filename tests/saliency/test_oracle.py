"""InputIBA against the authors' algorithm, stated in PyTorch, on the same noise, stage by stage."""

import functools
import types

import _input_iba_parity as parity
import jax
import numpy as np
import pytest

from dermjax import saliency
from dermjax.saliency import InputIBASettings, bottleneck

pytestmark = pytest.mark.parity
TOLERANCE = 1e-6


@pytest.fixture(scope="module", autouse=True)
def torch():
    why = "the reference needs it: pip install '.[parity]'"
    pytest.importorskip("skimage", reason=why)
    return pytest.importorskip("torch", reason=why)


@pytest.fixture(scope="module")
def statement():
    import _input_iba_torch

    return _input_iba_torch


ours = functools.cache(parity.record)


@pytest.mark.slow
@pytest.mark.parametrize("stage", ["feature", "prior", "input"])
def test_a_stage_equals_the_authors(stage):
    errors = parity.errors(ours(), stage)
    assert not {name: error for name, error in errors.items() if not error < TOLERANCE}


def test_both_players_move():
    """Otherwise the comparison of the prior would be one of where it starts."""
    run = ours()
    start = bottleneck.bits_per_pixel(run.feature.capacity, (parity.SIDE, parity.SIDE))
    moved = np.log(run.prior.mask / (1 - run.prior.mask)) - np.asarray(start)[..., None]
    assert np.abs(moved).mean() > 0.02
    assert np.ptp(run.prior.losses["critic"], axis=0).min() > 0.02


def test_the_numbers_unless_told_otherwise_are_the_authors(statement):
    theirs, mine = statement.Settings(), InputIBASettings(layer="blocks.6")
    for name, of in parity.NAMES.items():
        assert getattr(theirs, name) == getattr(mine, of), name


def test_statistics_equal_torchs(statement):
    """Over batches of unequal size, of which torch sees all at once."""
    variables, images, others = parity.inputs()
    batches = [*others, images]
    mine = saliency.feature_statistics(parity.MODEL, variables, batches, parity.LAYER)
    to_layer, _ = parity.torch_network(variables)
    theirs = statement.feature_statistics(
        to_layer, [parity.to_torch(batch, channels=1) for batch in batches]
    )
    for name in ("mean", "std"):
        expected = getattr(theirs, name).movedim(0, -1).numpy()
        np.testing.assert_allclose(getattr(mine, name), expected, rtol=1e-5, atol=1e-6)
    np.testing.assert_array_equal(mine.active, theirs.active.movedim(0, -1).numpy())
    assert 0 < mine.active.mean() < 1


def test_the_whole_equals_the_authors_with_the_quick_prior():
    """As it is called, in single precision."""
    variables, images, others = parity.inputs()
    settings = InputIBASettings(layer=parity.LAYER, draws=2, steps_feature=2, steps_input=2)
    keys = jax.random.split(jax.random.key(2), len(images))
    given = parity.MODEL, variables, images, np.array(parity.TARGETS)
    statistics = saliency.feature_statistics(parity.MODEL, variables, others, parity.LAYER)
    maps = saliency.input_iba(*given, keys=keys, statistics=statistics, settings=settings)
    for place, target in enumerate(parity.TARGETS):
        explainer = parity.torch_explainer(
            variables, statistics, keys[place], ours=settings, wide=False, prior="iba"
        )
        theirs = explainer.explain(parity.to_torch(images[place]), target).map
        assert parity.relative(maps[place], theirs) < 1e-4


def wrong(statement, kind):
    """The reference with one thing otherwise: the class, and settings."""
    import torch

    class Wrong(statement.InputIBA):
        def feature_mask(self, logits):
            if kind == "a layer's mask smoothed":
                return self.input_mask(logits)
            return super().feature_mask(logits)

        def feature_divergence(self, keep, lose, standardised):
            right = super().feature_divergence(keep, lose, standardised)
            return right - (keep * standardised) ** 2 if kind == "a mean's sign" else right

        def feature_capacity(self, logits, features, last):
            if kind != "capacity after the last update":
                return super().feature_capacity(logits, features, last)
            mean, std, active = self.statistics
            masks = self.feature_mask(logits.detach())
            return active * self.feature_divergence(*masks, (features - mean) / std)

        def saliency(self, capacity, size):
            if kind != "the border's value held":
                return super().saliency(capacity, size)
            bits = capacity.sum(0) / np.log(2) * capacity[0].numel() / (size[0] * size[1])
            resize = torch.nn.functional.interpolate
            return resize(bits[None, None], tuple(size), mode="bilinear")[0, 0]

        def generate(self, image, mask, mean, scale, z):
            if kind == "noise of one channel for all":
                mean, scale = mean[:1], scale[:1]
            return super().generate(image, mask, mean, scale, z)

        def clip(self, critic):
            if kind == "norms not clipped":
                kept = types.SimpleNamespace(
                    parameters=lambda: [p for p in critic.parameters() if p.ndim > 1]
                )
                return super().clip(kept)
            return super().clip(critic)

        def batches(self, image):
            if kind != "samples in their order":
                yield from super().batches(image)
                return
            rows = parity.to_torch(np.arange(self.settings.gan_samples)).long()
            for _ in range(self.settings.gan_epochs):
                yield from enumerate(rows.split(self.settings.gan_batch))

        def smooth(self, mask):
            return mask if kind == "an input's mask not smoothed" else super().smooth(mask)

        def input_divergence(self, image, keep, lose, prior):
            if kind == "no prior":
                prior = prior - float("inf")
            return super().input_divergence(image, keep, lose, prior)

    return Wrong


@pytest.mark.parametrize(
    ("stage", "kind", "settings"),
    [
        ("feature", "a layer's mask smoothed", {}),
        ("feature", "a mean's sign", {}),
        ("feature", "capacity after the last update", {}),
        ("feature", "the border's value held", {}),
        ("feature", "another price", {"feature_beta": 1.1}),
        ("prior", "generator every 4th batch", {"generator_every": 4}),
        ("prior", "mask in [0, 1]", {"gan_mask": "lambda"}),
        ("prior", "norms not clipped", {}),
        ("prior", "samples in their order", {}),
        ("prior", "noise of one channel for all", {}),
        ("input", "an input's mask not smoothed", {}),
        ("input", "no prior", {}),
        ("input", "another price", {"input_beta": 1.1}),
    ],
)
def test_what_is_wrong_is_noticed(statement, stage, kind, settings):
    errors = parity.errors(ours(), stage, reference=wrong(statement, kind), **settings)
    assert max(errors.values()) > 100 * TOLERANCE
