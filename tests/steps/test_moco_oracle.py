"""The MoCo step against the official code's, stated in PyTorch, over steps that wrap the queue.

`python tests/benchmarks/moco_parity.py` prints the table of errors.
"""

import functools

import _moco_parity
import pytest

pytestmark = pytest.mark.parity
TOLERANCE, STEPS = 1e-5, 6


@pytest.fixture(scope="module", autouse=True)
def torch():
    return pytest.importorskip("torch", reason="the reference needs it: pip install '.[parity]'")


@functools.cache
def ours(groups, symmetric):
    run = _moco_parity.record(groups, symmetric=symmetric, steps=STEPS)
    written = [int(step.state.queue_pointer) for step in run.steps]
    assert written != sorted(written)  # round the end of the queue
    return run


@pytest.mark.parametrize("groups", [2, 4])
@pytest.mark.parametrize("symmetric", [False, True], ids=["asymmetric", "symmetric"])
def test_every_step_equals_the_official_codes(groups, symmetric):
    for number, errors in enumerate(_moco_parity.errors(ours(groups, symmetric))):
        assert errors.keys() == set(_moco_parity.QUANTITIES)
        wrong = {name: error for name, error in errors.items() if not error < TOLERANCE}
        assert not wrong, f"step {number}"


def wrong_reference(kind):
    """The reference with one thing in the wrong place."""
    import _moco_torch

    class Wrong(_moco_torch.MoCo):
        def momentum_update_key_encoder(self):
            if kind != "key encoder updated after its keys":
                super().momentum_update_key_encoder()
            if kind == "statistics averaged too":
                for q, k in zip(self.encoder_q.buffers(), self.encoder_k.buffers(), strict=True):
                    k.copy_(k * self.m + q * (1 - self.m))

        def batch_unshuffle(self, k, shuffle):
            return k if kind == "keys left shuffled" else super().batch_unshuffle(k, shuffle)

        def logits(self, q, k):
            if kind == "key encoder updated after its keys":
                super().momentum_update_key_encoder()
            if kind == "keys queued before the logits":
                super().dequeue_and_enqueue(k)
            return super().logits(q, k)

        def dequeue_and_enqueue(self, k):
            if kind != "keys queued before the logits":
                super().dequeue_and_enqueue(k)

    return Wrong


@pytest.mark.parametrize(
    ("kind", "option"),
    [
        ("key encoder updated after its keys", {}),
        ("keys left shuffled", {}),
        ("keys queued before the logits", {}),
        ("statistics averaged too", {}),
        ("no weight decay", {"weight_decay": 0}),
        ("no nesterov", {"nesterov": False}),
        ("another momentum", {"momentum": 0.89}),
    ],
)
def test_what_is_wrong_is_noticed(kind, option):
    """At every step from the second on; in the first both encoders are still one."""
    steps = _moco_parity.errors(ours(2, False), moco=wrong_reference(kind), **option)
    worst = [max(errors.values()) for errors in steps]
    assert min(worst[1:]) > 5 * TOLERANCE
