"""Checkpoints in folders of any legal name."""

import flax
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from dermjax import stores
from dermjax.training.checkpoint import Checkpoints, restore_subtree

NAMES = (
    "eckig [1]",
    "[!a]",
    "st*r",
    "wh?t",
    "h#sh %20",
    "com,ma=x",
    "über 痤疮",
    "new\nline",
    "~a",
)


class State(flax.struct.PyTreeNode):
    step: jax.Array
    params: dict


@pytest.mark.parametrize("name", NAMES)
def test_what_is_saved_below_any_name_is_read_again(tmp_path, name):
    state = State(jnp.int32(3), {"kernel": jnp.arange(4.0)})
    folder = stores.folder(tmp_path / name / "run") / "checkpoints"
    with Checkpoints(folder, scored=True) as checkpoints:
        checkpoints.save(state, {"seconds": 1}, score=0.5)
    warnings = []
    with Checkpoints(folder, scored=True) as checkpoints:
        restored, meta = checkpoints.restore_latest(state, warnings.append)
    assert not warnings and meta["seconds"] == 1
    np.testing.assert_array_equal(restored.params["kernel"], np.arange(4.0))
    sharding = jax.sharding.SingleDeviceSharding(jax.devices()[0])
    wanted = {"params": {"kernel": jax.ShapeDtypeStruct((4,), jnp.float32, sharding=sharding)}}
    found = restore_subtree(folder, 3, wanted)
    np.testing.assert_array_equal(found["params"]["kernel"], np.arange(4.0))


def test_a_folder_whose_name_matches_as_a_pattern_is_not_mixed_in(tmp_path):
    """`a*` is a folder's name, not its neighbours'."""
    for name in ("a*", "ab"):
        (tmp_path / name).mkdir()
        (tmp_path / name / f"of {name[1]}").touch()
    found = stores.folder(tmp_path / "a*").glob("of *")
    assert [path.name for path in found] == ["of *"]
