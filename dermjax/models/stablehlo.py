"""A classifier as a StableHLO program, which JAX runs on CPUs, GPUs and TPUs without dermjax."""

from typing import Any

import jax
import jax.numpy as jnp

from dermjax.models.calibrated_network import CalibratedNetwork

PLATFORMS = ("cpu", "cuda", "tpu")


def to_bytes(classifier: CalibratedNetwork) -> bytes:
    """A classifier as the content of a .stablehlo file, in the format of `jax.export`.

    In a process with JAX and flatbuffers alone:

        program = jax.export.deserialize(bytearray(open("mine.stablehlo", "rb").read()))
        answers = program.call(images)

    `images` are `[B, S, S, 3]` uint8 RGB, whole images that were resized to the network's input by
    Pillow with the preprocessing's filter; B is any number of 1 and more. The answers are `logits`
    `[B, N]`, which are the network's own, and `probabilities` `[B, N]`, the softmax of the logits
    over the temperature; both are float32. TPUs and new GPUs multiply at their default precision,
    which is less than float32, as they do in a run.

    JAX guarantees (https://docs.jax.dev/en/latest/export/export.html#compatibility-guarantees) that
    a file can be read and run by releases up to 6 months newer and up to 3 weeks older than the one
    that wrote it, on the `PLATFORMS`. It is for serving; what is to be kept for years is
    .safetensors or .onnx. The names of the classes are not in the file.
    """
    preprocessing = classifier.model.preprocessing
    mean, std = (jnp.asarray(v, jnp.float32) for v in (preprocessing.mean, preprocessing.std))

    def classify(images: jax.Array) -> dict[str, jax.Array]:
        pixels = (images.astype(jnp.float32) / 255 - mean) / std
        logits: Any = classifier.model.apply(classifier.variables, pixels, train=False)
        return {
            "logits": logits,
            "probabilities": jax.nn.softmax(logits / classifier.temperature),
        }

    (batch,) = jax.export.symbolic_shape("batch")
    images = jax.ShapeDtypeStruct((batch, classifier.size, classifier.size, 3), jnp.uint8)
    exported = jax.export.export(jax.jit(classify), platforms=PLATFORMS)(images)
    return bytes(exported.serialize())
