"""Tiny stand-ins for CIFAR-10's files, written as the real ones are."""

import colorsys
import pathlib
import struct

import numpy as np

CLASSES = (
    *("airplane", "automobile", "bird", "cat", "deer"),
    *("dog", "frog", "horse", "ship", "truck"),
)
BATCHES = (*(f"data_batch_{n}" for n in range(1, 6)), "test_batch")


def write_cifar10(folder, train_per_file=20, test=20, seed=0):
    """Writes the python version; each class has a hue of its own, so it can be learnt.

    Args:
        folder: Made where it is missing.
        train_per_file: Images in each of the five files to train on; ten or more hold each class.
        test: Images in the test file.
        seed: Of the noise and the order.

    Returns:
        Images `[N, 32, 32, 3]` uint8 and labels `[N]` int32, in the order of the files.
    """
    draw, parts = np.random.default_rng(seed), []
    for name, count in zip(BATCHES, [train_per_file] * 5 + [test], strict=True):
        parts.append((name, *draw_images(draw, count)))
    write_python(folder, parts)
    return np.concatenate([p[1] for p in parts]), np.concatenate([p[2] for p in parts])


def draw_images(draw: np.random.Generator, count: int):
    """Images in the hue of their class, noisy and of different brightness; and the labels."""
    labels = draw.permutation(np.arange(count) % 10).astype(np.int32)
    hues = np.array([colorsys.hsv_to_rgb(label / 10, 0.8, 200.0) for label in range(10)])
    colours = hues[labels] * draw.uniform(0.6, 1.1, (count, 1))
    pixels = colours[:, None, None] + draw.normal(0, 25, (count, 32, 32, 3))
    return pixels.clip(0, 255).astype(np.uint8), labels


def write_python(folder, parts) -> None:
    """Parts are (name, images, labels)."""
    folder = pathlib.Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    for name, images, labels in parts:
        content = {
            b"batch_label": name.encode(),
            b"labels": [int(label) for label in labels],
            b"data": planes(images),
            b"filenames": [b"%s_s_%06d.png" % (name.encode(), n) for n in range(len(labels))],
        }
        (folder / name).write_bytes(pickled(content))
    meta = {
        b"num_cases_per_batch": len(parts[0][2]),
        b"label_names": [name.encode() for name in CLASSES],
        b"num_vis": 3072,
    }
    (folder / "batches.meta").write_bytes(pickled(meta))


def write_binary(folder, parts) -> None:
    """Parts are (name, images, labels)."""
    folder = pathlib.Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    for name, images, labels in parts:
        records = zip(labels, planes(images), strict=True)
        content = b"".join(bytes([label]) + row.tobytes() for label, row in records)
        (folder / f"{name}.bin").write_bytes(content)
    (folder / "batches.meta.txt").write_text("\n".join(CLASSES) + "\n\n")  # it ends in two


def planes(images):
    """`[n, 32, 32, 3]` -> `[n, 3072]`: all red, then all green, then all blue."""
    return np.ascontiguousarray(images.transpose(0, 3, 1, 2)).reshape(len(images), 3072)


def pickled(value) -> bytes:
    """As Python 2's cPickle writes it by protocol 2, less the memo, which only saves room."""
    return b"\x80\x02" + _opcodes(value) + b"."


def _opcodes(value) -> bytes:
    if isinstance(value, dict):
        return b"}(" + b"".join(_opcodes(part) for pair in value.items() for part in pair) + b"u"
    if isinstance(value, list):
        return b"](" + b"".join(map(_opcodes, value)) + b"e"
    if isinstance(value, bytes):  # Python 2's str, which Python 3 never writes
        size = len(value)
        return (b"U" + bytes([size]) if size < 256 else b"T" + struct.pack("<i", size)) + value
    if isinstance(value, int):
        return b"K" + bytes([value]) if 0 <= value < 256 else b"J" + struct.pack("<i", value)
    kind, shape = value.dtype.str, b"".join(map(_opcodes, value.shape))
    dtype = b"cnumpy\ndtype\n" + _opcodes(kind[1:].encode()) + b"K\x00K\x01\x87R"
    dtype += b"(K\x03" + _opcodes(kind[:1].encode()) + b"NNN" + 2 * _opcodes(-1) + b"K\x00tb"
    made = b"cnumpy.core.multiarray\n_reconstruct\ncnumpy\nndarray\nK\x00\x85U\x01b\x87R"
    return made + b"(K\x01(" + shape + b"t" + dtype + b"\x89" + _opcodes(value.tobytes()) + b"tb"
