"""Arithmetic of InputIBA for one image, stage by stage, from XLA's counts of its parts.

XLA counts the body of a loop once, so the loops' parts are counted and multiplied.
"""

import functools

import jax
import jax.numpy as jnp

from dermjax.saliency import InputIBASettings, critic

# TFLOP an image of the authors' code, by multiplications and additions of B4's published shape.
TABLE = {
    ("efficientnet_b4", 512): {
        **{"feature": 1.6, "fakes": 62.7, "generator": 40.1, "critic": 49.9, "input": 18.8},
        "gan": 173,
    },
    ("efficientnet_b4", 300): {"gan": 60},
}


class Cost:
    """Floating-point operations of one image; the network's in its evaluation mode."""

    def __init__(self, model, variables, size: int, settings: InputIBASettings):
        self.settings = settings
        image = jax.ShapeDtypeStruct((1, size, size, 3), jnp.float32)
        sections = {"whole": {}, "prefix": {"stop": settings.layer}}
        sections["tail"] = {"start": settings.layer}
        self.features = jax.eval_shape(
            lambda v, x: model.apply(v, x, train=False, **sections["prefix"]), variables, image
        )
        self.forward, self.both = {}, {}  # of one image; with the way back to the input
        for name, cuts in sections.items():
            apply = functools.partial(model.apply, train=False, **cuts)
            x = self.features if name == "tail" else image
            self.forward[name] = count(apply, variables, x)
            self.both[name] = count(functools.partial(_way_back, apply), variables, x)

    def stages(self) -> dict[str, tuple[float, float]]:
        """stage -> ours and the authors' code's."""
        s, forward, both = self.settings, self.forward, self.both
        feature, pixels = s.steps_feature * s.draws, s.steps_input * s.draws
        batches = s.batches * s.gan_epochs
        learning = s.batches[:: s.gan_generator_every] * s.gan_epochs
        fakes = sum(batches) * forward["prefix"]
        back = both["prefix"] - forward["prefix"]
        tail_back = both["tail"] - forward["tail"]
        critics = self.critics(batches, learning)
        return {
            "feature": (
                forward["prefix"] + feature * both["tail"],
                feature * (forward["whole"] + tail_back),
            ),
            "fakes": (fakes, fakes),
            "generator": (sum(learning) * back, sum(learning) * both["prefix"]),
            "critic": (critics, critics),
            "input": (pixels * both["whole"],) * 2,
        }

    def critics(self, batches, learning) -> float:
        """All steps of the critic, and the generator's ways back through it."""
        shape = self.features.shape[1:]
        key = jax.eval_shape(lambda: jax.random.key(0)[None])
        params = jax.eval_shape(lambda keys: critic.initialize(keys, shape), key)
        params = jax.tree.map(lambda leaf: jax.ShapeDtypeStruct(leaf.shape[1:], leaf.dtype), params)

        def of(size, function, copies):
            given = [jax.ShapeDtypeStruct((size, *shape), jnp.float32)] * copies
            return count(function, params, *given)

        step, slope = jax.grad(critic.critic_loss), jax.grad(critic.generator_loss, argnums=1)
        return sum(
            sizes.count(size) * of(size, function, copies)
            for sizes, function, copies in ((batches, step, 2), (learning, slope, 1))
            for size in set(sizes)
        )


def count(function, *args) -> float:
    """As XLA counts, before it has optimised anything."""
    cost = jax.jit(function).lower(*args).cost_analysis() or {}
    cost = cost[0] if isinstance(cost, (list, tuple)) else cost
    return float(cost.get("flops", 0))


def _way_back(apply, variables, x):
    """Result and gradient of the input, of which nothing can be left out."""
    result, pull = jax.vjp(lambda x: apply(variables, x), x)
    return result, pull(result)
