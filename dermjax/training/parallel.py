"""Devices, the mesh over them, and mapping a step onto it; only this module handles devices.

A step is a function of one device's share of the batch with collectives over ONE axis, `AXIS`. It
is mapped here by `jit(shard_map)`, which is what `jax.pmap` has been inside since JAX 0.8, and
whose global arrays Orbax can save from several hosts. The same step runs under `jax.pmap` and under
`vmap(axis_name=AXIS)`; tests/steps/test_moco.py holds the three equal.
"""

import dataclasses
import functools
from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.experimental import multihost_utils
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from dermjax.training import processes

AXIS = "devices"


@dataclasses.dataclass(frozen=True)
class Devices:
    """The devices of a run, and how values are laid out on them."""

    mesh: Mesh

    @property
    def count(self) -> int:
        return self.mesh.size

    @property
    def kind(self) -> str:
        return self.mesh.devices.flat[0].device_kind

    @property
    def platform(self) -> str:
        return self.mesh.devices.flat[0].platform

    @property
    def compute_dtype(self) -> jnp.dtype:
        """bfloat16 where matrix units want it; float32 on CPU, where bfloat16 is emulated."""
        return jnp.dtype(jnp.float32 if self.platform == "cpu" else jnp.bfloat16)

    @property
    def replicated(self) -> NamedSharding:
        return NamedSharding(self.mesh, PartitionSpec())

    def replicate(self, tree: Any) -> Any:
        """The same tree on every device, as one global array per leaf."""
        return jax.device_put(tree, self.replicated)

    def abstract(self, tree: Any) -> Any:
        """Shapes, dtypes and layout of a replicated tree: what a checkpoint is restored into."""
        return jax.tree.map(
            lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=self.replicated), tree
        )

    def put(self, batch: Mapping[str, np.ndarray]) -> dict[str, jax.Array]:
        """This process's share of a batch -> global arrays divided over all devices."""
        sharding = NamedSharding(self.mesh, PartitionSpec(AXIS))
        return {
            name: jax.make_array_from_process_local_data(sharding, value)
            for name, value in batch.items()
        }

    def map_train_step(self, step: Callable) -> Callable:
        """`(state, batch) -> (state, metrics)` per device -> the same over all devices, jitted.

        The state is donated: its buffers are reused for the new state.
        """
        everywhere, divided = PartitionSpec(), PartitionSpec(AXIS)
        # check_vma=False: with it on, pmean(grads) is silently the number of devices too large.
        mapped = jax.shard_map(
            step,
            mesh=self.mesh,
            in_specs=(everywhere, divided),
            out_specs=(everywhere, everywhere),
            check_vma=False,
        )
        return jax.jit(mapped, donate_argnums=0)

    def map_predict_step(self, step: Callable) -> Callable:
        """`(variables, batch) -> outputs` per device -> the same over all devices, jitted.

        Outputs come back as NumPy arrays of the whole batch on every process.
        """
        everywhere, divided = PartitionSpec(), PartitionSpec(AXIS)
        mapped = jax.jit(
            jax.shard_map(
                step,
                mesh=self.mesh,
                in_specs=(everywhere, divided),
                out_specs=divided,
                check_vma=False,
            )
        )

        @functools.wraps(step)
        def predict(variables, batch):
            outputs = mapped(variables, self.put(batch))
            if processes.alone():
                return jax.device_get(outputs)
            return multihost_utils.process_allgather(outputs, tiled=True)

        return predict


def all_devices() -> Devices:
    """Every device of every process in one row."""
    return Devices(Mesh(np.array(jax.devices()), (AXIS,)))
