"""The losses of stage 2 against NumPy's formulas, and what they do for a rare class."""

import functools

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from dermjax.steps import classify, losses
from dermjax.training.parallel import AXIS

COUNTS = np.array([670, 7, 0, 110])
WEIGHTS = np.array([0.5, 3.0, 0.0, 0.5], np.float32)
SHIFT = np.array([-0.2, -4.7, -6.7, -2.0], np.float32)


CENTRES = np.array([[110, 128, 128], [146, 128, 128], [128, 158, 128]])  # classes as colours


def draws(n=64, classes=4, scale=3.0):
    rng = np.random.default_rng(5)
    logits = rng.normal(0, scale, (n, classes)).astype(np.float32)
    return logits, rng.integers(0, classes, n).astype(np.int32)


def softmax(logits):
    p = np.exp(np.asarray(logits, np.float64))
    return p / p.sum(-1, keepdims=True)


@pytest.mark.parametrize("smoothing", [0.0, 0.1])
def test_cross_entropy_is_the_plain_formula_with_weights_and_shift(smoothing):
    logits, labels = draws()
    found = losses.cross_entropy(
        logits, labels, label_smoothing=smoothing, class_weights=WEIGHTS, logit_shift=SHIFT
    )
    log_p = np.log(softmax(logits + SHIFT))
    target = np.full((64, 4), smoothing / 4)
    target[np.arange(64), labels] += 1 - smoothing
    expected = [
        WEIGHTS[y] * -sum(q[k] * lp[k] for k in range(4))
        for y, q, lp in zip(labels, target, log_p, strict=True)
    ]
    np.testing.assert_allclose(found, expected, rtol=2e-5, atol=1e-6)


@pytest.mark.parametrize("gamma", [0.5, 1.0, 2.0, 5.0])
def test_focal_is_the_papers_formula(gamma):
    logits, labels = draws()
    for shift, weights in ((np.zeros(4), np.ones(4)), (SHIFT, WEIGHTS)):
        found = losses.focal(logits, labels, gamma=gamma, class_weights=weights, logit_shift=shift)
        p = softmax(logits + shift)[np.arange(64), labels]
        expected = weights[labels] * -((1 - p) ** gamma) * np.log(p)
        np.testing.assert_allclose(found, expected, rtol=2e-4, atol=1e-6)


def test_focal_of_gamma_0_is_cross_entropy():
    logits, labels = draws()
    expected = losses.cross_entropy(logits, labels, label_smoothing=0.0)
    np.testing.assert_allclose(losses.focal(logits, labels, gamma=0.0), expected, rtol=1e-5)


@pytest.mark.parametrize("gamma", [0.0, 0.5, 2.0])
@pytest.mark.parametrize("margin", [-200.0, 0.0, 20.0, 200.0])
def test_focal_has_a_gradient_however_sure_the_network_is(gamma, margin):
    """In float32 p is 1 from a margin of 17 on, where a power of 1 - p has none."""
    logits = jnp.array([[margin, 0.0, 0.0]])
    loss, gradient = jax.value_and_grad(
        lambda x: losses.focal(x, jnp.array([0]), gamma=gamma).sum()
    )(logits)
    assert np.isfinite(loss) and loss >= 0 and np.isfinite(gradient).all()
    assert margin > 0 or gradient[0, 0] < -0.1


@pytest.mark.parametrize("beta", [0.0, 0.9, 0.999, 0.9999])
def test_effective_number_weights(beta):
    """The effective number as the sum 1 + beta + beta^2 ... of its n terms."""
    found = losses.effective_number_weights(COUNTS, beta)
    inverse = np.array([1 / sum(beta**j for j in range(n)) if n else 0 for n in COUNTS])
    np.testing.assert_allclose(found, inverse / inverse.sum() * 3, rtol=1e-6)
    assert found.sum() == pytest.approx(3) and found[2] == 0


def test_the_shift_is_tau_log_of_the_share():
    found = losses.prior_shift(COUNTS, 1.5)
    np.testing.assert_allclose(found[[0, 1, 3]], 1.5 * np.log(COUNTS[[0, 1, 3]] / 787), rtol=1e-6)
    assert np.isfinite(found).all() and found[2] < found[1]


def test_numbers_out_of_bounds_are_refused():
    with pytest.raises(ValueError, match=r"effective_number_beta = 1.0 .* below 1; try 0.999"):
        losses.effective_number_weights(COUNTS, 1.0)
    with pytest.raises(ValueError, match="logit_adjustment = -1.0 must be at least 0"):
        losses.prior_shift(COUNTS, -1.0)
    for count in (losses.effective_number_weights, losses.prior_shift):
        with pytest.raises(ValueError, match="no labelled images to count"):
            count(np.zeros(3, int), 0.5)


class Linear(nn.Module):
    """Logits straight from an image's mean colour."""

    classes: int

    @nn.compact
    def __call__(self, images, train=False):
        self.variable("batch_stats", "none", jnp.zeros, ())
        return nn.Dense(self.classes)(images.mean((1, 2)))


def trained(images, labels, loss, steps):
    """The linear network after some steps of AdamW on one batch, and the losses on the way."""
    model = Linear(int(labels.max()) + 1)
    variables = model.init(jax.random.key(0), jnp.zeros((1, 1, 1, 3)))
    optimizer = optax.adam(0.1)
    step = functools.partial(
        classify.train_step,
        apply=model.apply,
        optimizer=optimizer,
        augment=lambda key, positions, images, sizes: images / 128.0 - 1,
        config=classify.ClassifierConfig(loss=loss, axis=AXIS),
    )
    batch = {"image": images, "size": np.ones((len(images), 2), np.int32), "label": labels}
    state = classify.create_state(variables, optimizer, seed=0)
    state, batch = jax.tree.map(lambda x: jnp.asarray(x)[None], (state, batch))
    many = jax.jit(
        lambda state: jax.lax.scan(
            lambda state, _: jax.vmap(step, axis_name=AXIS)(state, batch), state, length=steps
        )
    )
    state, metrics = many(state)
    state = jax.tree.map(lambda x: x[0], state)
    return state, metrics, model.apply(state.variables, batch["image"][0] / 128.0 - 1)


def colours(counts, seed=0):
    """Images of one pixel, of classes whose colours overlap."""
    rng = np.random.default_rng(seed)
    labels = np.repeat(np.arange(len(counts)), counts).astype(np.int32)
    pixels = rng.normal(CENTRES[labels], 18)
    return np.clip(pixels, 0, 255).astype(np.uint8)[:, None, None], labels


def test_the_default_loss_is_optax_bit_for_bit():
    """What trained before there were options trains the same numbers."""
    images, labels = colours([40, 20, 4])

    def before(logits, labels):
        target = optax.smooth_labels(jax.nn.one_hot(labels, logits.shape[-1]), 0.1)
        return optax.softmax_cross_entropy(logits.astype(jnp.float32), target)

    now = functools.partial(losses.cross_entropy, label_smoothing=0.1)
    for a, b in zip(
        jax.tree.leaves(trained(images, labels, before, 20)),
        jax.tree.leaves(trained(images, labels, now, 20)),
        strict=True,
    ):
        np.testing.assert_array_equal(a, b)


def sensitivities(loss):
    """By class, of a training on 600 : 300 : 15 images, asked of images as many of each."""
    counts = np.array([600, 300, 15])
    images, labels = colours(counts)
    state, _, _ = trained(images, labels, loss(counts), 300)
    images, labels = colours([400, 400, 400], seed=1)
    logits = Linear(3).apply(state.variables, images / 128.0 - 1)
    return [(logits.argmax(-1) == labels)[labels == c].mean() for c in range(3)]


def test_a_rare_class_is_seen_with_weights_or_with_an_adjustment():
    """And nearly as often as by the best rule for equal classes, the nearest centre."""
    plain = sensitivities(lambda n: functools.partial(losses.cross_entropy, label_smoothing=0.0))
    weighted = sensitivities(
        lambda n: functools.partial(
            losses.cross_entropy,
            label_smoothing=0.0,
            class_weights=losses.effective_number_weights(n, 0.9999),
        )
    )
    adjusted = sensitivities(
        lambda n: functools.partial(
            losses.cross_entropy, label_smoothing=0.0, logit_shift=losses.prior_shift(n, 1.0)
        )
    )
    images, labels = colours([400, 400, 400], seed=1)
    distance = ((images[:, 0] - CENTRES.astype(float)) ** 2).sum(-1)
    nearest = distance.argmin(1)
    best = (nearest == labels).mean()
    assert plain[2] < 0.4
    for helped in (weighted, adjusted):
        assert helped[2] > plain[2] + 0.3
        assert np.mean(helped) > max(np.mean(plain) + 0.05, best - 0.04)
