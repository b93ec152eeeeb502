"""Collectives are counted as a program has them, and priced as rings are; the printed table."""

import dataclasses
import os
import pathlib
import re
import subprocess
import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from _collectives import Collective, of_compiled, of_lowered
from _links import LINKS, Step, changed, other_forms, predict
from jax import lax
from jax.sharding import Mesh, PartitionSpec

pytestmark = pytest.mark.slow

AXIS, DEVICES, FLOAT = "devices", 8, 4
SCRIPT = pathlib.Path(__file__).with_name("scaling.py")


def lowered(step, *shapes):
    """Of a step over eight devices, each of which has the given shapes."""
    mesh = Mesh(np.array(jax.devices()[:DEVICES]), (AXIS,))
    divided = PartitionSpec(AXIS)
    mapped = jax.shard_map(step, mesh=mesh, in_specs=divided, out_specs=divided, check_vma=False)
    whole = [jax.ShapeDtypeStruct((DEVICES * s[0], *s[1:]), dtype) for s, dtype in shapes]
    return jax.jit(mapped).lower(*whole)


def known_step(pixels, x):
    """One of each kind; the sum in a function of its own, which is called twice."""
    everyone = lax.all_gather(pixels, AXIS, tiled=True)
    with jax.named_scope("bn1"):
        scattered = lax.psum_scatter(x, AXIS, tiled=True)
    sums = jax.jit(lambda x: lax.psum(x, AXIS))
    turned = lax.ppermute(x, AXIS, [(i, (i + 1) % DEVICES) for i in range(DEVICES)])
    exchanged = lax.all_to_all(x, AXIS, 0, 0, tiled=True)
    total = sums(x) + sums(2 * x) + turned + exchanged
    return everyone[:1], scattered, total


PIXELS, X = ((2, 6, 6, 3), jnp.uint8), ((16, 5), jnp.float32)
BYTES = 16 * 5 * FLOAT
KNOWN = {  # kind -> (of how many, bytes put in, bytes got out, sent on a ring)
    "all_gather": (1, 2 * 108, 16 * 108, 14 * 108),
    "reduce_scatter": (1, BYTES, BYTES // 8, BYTES * 7 / 8),
    "all_reduce": (2, BYTES, BYTES, BYTES * 14 / 8),
    "collective_permute": (1, BYTES, BYTES, BYTES),
    "all_to_all": (1, BYTES, BYTES, BYTES * 7 / 8),
}


def by_kind(collectives):
    return {
        kind: (len(of), sum(c.operand for c in of), sum(c.result for c in of), sent)
        for kind in {c.kind for c in collectives}
        if (of := [c for c in collectives if c.kind == kind])
        for sent in [sum(c.network_bytes for c in of)]
    }


def test_known_collectives_are_counted_with_their_bytes():
    found = of_lowered(lowered(known_step, PIXELS, X))
    expected = {
        kind: (count, *(count * number for number in numbers))
        for kind, (count, *numbers) in KNOWN.items()
    }
    assert by_kind(found) == expected
    assert {c.devices for c in found} == {DEVICES}
    assert {c.dtype for c in found if c.kind == "all_gather"} == {"ui8"}
    assert [c.kind for c in found if "bn1/" in c.name] == ["reduce_scatter"]


def test_the_compiled_program_holds_the_same_bytes():
    """In fewer operations, where the compiler joined some."""
    low = lowered(known_step, PIXELS, X)
    before, after = by_kind(of_lowered(low)), by_kind(of_compiled(low.compile().as_text()))
    assert {kind: numbers[1:] for kind, numbers in after.items()} == {
        kind: numbers[1:] for kind, numbers in before.items()
    }
    assert all(after[kind][0] <= numbers[0] for kind, numbers in before.items())


def test_groups_of_devices_are_rings_of_their_own():
    pairs = [[i, i + 4] for i in range(4)]
    (found,) = of_lowered(lowered(lambda x: lax.psum(x, AXIS, axis_index_groups=pairs), X))
    assert (found.devices, found.network_bytes) == (2, BYTES)


@pytest.mark.parametrize("loop", [True, False], ids=["loop", "branch"])
def test_what_may_run_any_number_of_times_is_refused(loop):
    def step(x):
        if loop:
            return lax.fori_loop(0, 3, lambda _, x: lax.psum(x, AXIS), x)
        return lax.cond(x[0, 0] > 0, lambda x: lax.psum(x, AXIS), lambda x: x, x)

    with pytest.raises(ValueError, match="how often"):
        of_lowered(lowered(step, X))


def test_rings_by_passing_pieces_on():
    """The formulas against rings that are run: every device sends one piece to the next."""
    for devices in (2, 5, 8):
        size = 40 * devices
        sent = {"all_gather": 0, "reduce_scatter": 0}
        have = [{d} for d in range(devices)]  # pieces each device has (or of which it has sums)
        while any(len(pieces) < devices for pieces in have):
            last = [(d - sent["all_gather"] // (size // devices)) % devices for d in range(devices)]
            for d in range(devices):
                have[(d + 1) % devices].add(last[d])
            sent["all_gather"] += size // devices
        sent["reduce_scatter"] = sent["all_gather"]  # the same ring backwards
        of = lambda kind, **sizes: Collective(kind, "f32", devices=devices, name="", **sizes)  # noqa: E731,B023
        assert of("all_gather", operand=40, result=size).network_bytes == sent["all_gather"]
        assert of("reduce_scatter", operand=size, result=40).network_bytes == sent["all_gather"]
        both = of("all_reduce", operand=size, result=size).network_bytes
        assert both == sum(sent.values())


def test_a_step_over_links_by_hand():
    gather = Collective("all_gather", "ui8", 10**6, 10**9, 1000, "all_gather")
    norm = Collective("all_reduce", "f32", 10**6, 10**6, 1000, "encoder/bn1/psum")
    step = Step(1000, 1000, 4, [gather, norm, norm], flops=3e12, statistics=(8,))
    wide, mesh, ethernet = changed(LINKS, ["TPU v4=300,10"])[0], LINKS[1], LINKS[3]
    made = predict(step, wide, achieved=0.5)
    np.testing.assert_allclose(made.compute, 3e12 / (0.5 * 275e12))
    np.testing.assert_allclose(made.transfer["pixels"], 0.999e9 / 300e9)
    np.testing.assert_allclose(made.transfer["batch norm"], 2 * 2 * 0.999e6 / 300e9)
    np.testing.assert_allclose(made.latency, 3 * 10e-6)
    spent = made.communication
    np.testing.assert_allclose(made.share, spent / (spent + made.compute))
    gather = dataclasses.replace(gather, devices=8, result=10**9)
    few = Step(8, 8, 4, [gather], flops=3e12, statistics=(8,))
    assert predict(few, mesh, 0.5).transfer["pixels"] == 0.875e9 / 100e9  # rings do not close
    assert predict(few, ethernet, 0.5).transfer["pixels"] == 0.875e9 / 450e9  # within one host
    assert predict(step, ethernet, 0.5).transfer["pixels"] == 0.999e9 / 12.5e9


def test_what_goes_from_each_to_each_is_bound_by_the_narrowest_place():
    """A host's link carries it for eight devices, the middle of a torus for half."""
    moved = Collective("all_to_all", "ui8", 256 * 10**6, 256 * 10**6, 256, "all_to_all")
    for_each = 255e6
    _, v5e, nvlink, ethernet = LINKS
    assert nvlink.seconds(moved) == for_each / 450e9
    assert ethernet.seconds(moved) == 8 * for_each / 12.5e9
    # 128 devices have 10^6 bytes for each of 128 others; 2 x 16 links of 50 GB/s join the halves.
    np.testing.assert_allclose(v5e.seconds(moved), 128 * 128e6 / (32 * 50e9), rtol=0.01)


def test_other_forms_by_hand():
    """Four devices with two images of 3 bytes each and one batch norm of one group and channel."""
    gathers = [Collective("all_gather", "ui8", 6, 24, 4, "all_gather")]
    norms = [Collective("all_gather", "f32", 8, 32, 4, f"{p}/bn1/all_gather") for p in ("", "jvp")]
    forms = other_forms(Step(8, 4, 1, gathers + norms, flops=1, statistics=(8,)))
    sent = {name: sum(c.network_bytes for c in form) for name, form in forms.items()}
    rounds = len(forms["all-to-all"]) - 1
    assert rounds == 2  # of two images of a device nearly always two go the same way somewhere
    assert sent == {
        "gather": 3 * 6 + 3 * 8,
        "moved once": 6 * 3 / 4 + 3 * 8,
        "all-to-all": rounds * 3 * 3 + 3 * 8,
        "in place": 2 * 3 / 4 * 8,
        "bn gather": 2 * 3 * 8,
        "bn sums": 2 * 2 * 3 / 4 * 8,
    }


def test_an_unknown_link_is_refused():
    with pytest.raises(ValueError, match="'TPU v9' is not known; there are TPU v4"):
        changed(LINKS, ["TPU v9=3"])
    with pytest.raises(ValueError, match="NAME=GB/s"):
        changed(LINKS, ["TPU v4=fast"])


def test_the_table_of_a_toy_network():
    """As a user runs it: the gather of photographs on two devices is half the batch's bytes."""
    options = ["--model=efficientnet_tiny", "--size=32", "--side=40", "--devices=2", "--images=128"]
    done = subprocess.run(
        [sys.executable, SCRIPT, *options], capture_output=True, text=True, env=dict(os.environ)
    )
    assert done.returncode == 0, done.stderr
    first = done.stdout[done.stdout.index("MoCo-v2, the config's batch of 256") :]
    row = re.search(r"^ +2 +256 .*$", first, re.MULTILINE)[0]
    assert f"{128 * 40 * 40 * 3 / 1e6:.2f} (1)" in row
    assert re.search(rf"TPU v4 +2 +{'[0-9.]+ +' * 6}[0-9]+% +\d+% +\d+%", first)
