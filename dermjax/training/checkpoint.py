"""Checkpoints by Orbax, the only room that knows it: what is kept, what is restored first."""

from collections.abc import Callable
from typing import Any

import orbax.checkpoint as ocp
from etils import epath
from orbax.checkpoint.checkpoint_managers import AnyPreservationPolicy, BestN, LatestN

from dermjax import stores
from dermjax.training import processes

_SCORE = "score"
# Orbax would keep every checkpoint without a score for ever: unscored ones get one below all.
_UNSCORED = -1e30


class Checkpoints:
    """The checkpoints of one stage: the newest two, and the best by a score if there is one."""

    def __init__(self, directory: epath.PathLike, *, scored: bool = False):
        """Args:
        directory: one stage's folder; made when missing.
        scored: `save` is given a score (higher is better) and the best is kept.
        """
        self._directory = epath.Path(directory)
        self._directory.mkdir(parents=True, exist_ok=True)
        self._scored = scored
        policies = [LatestN(2)]
        if scored:
            # max_to_keep with best_fn would delete the NEWEST checkpoint when it scores worst.
            policies.append(BestN(get_metric_fn=lambda m: m[_SCORE], n=1))
        self._manager = ocp.CheckpointManager(
            stores.absolute(self._directory),
            options=ocp.CheckpointManagerOptions(
                preservation_policy=AnyPreservationPolicy(policies),
                best_fn=(lambda m: m[_SCORE]) if scored else None,
                best_mode="max",
            ),
        )

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    @property
    def latest_step(self) -> int | None:
        """Step of the newest complete checkpoint."""
        return self._manager.latest_step()

    @property
    def best_step(self) -> int | None:
        """Step of the checkpoint with the highest score."""
        return self._manager.best_step()

    def save(self, state: Any, meta: dict[str, Any], *, score: float | None = None) -> None:
        """Write `state` under its own step, without waiting for the disk."""
        if self._scored:
            metrics = {_SCORE: _UNSCORED if score is None else score}
        else:
            metrics = None
        self._manager.save(
            int(state.step),
            args=ocp.args.Composite(
                state=ocp.args.StandardSave(state), meta=ocp.args.JsonSave(meta)
            ),
            metrics=metrics,
        )

    def restore(self, target: Any, step: int) -> tuple[Any, dict[str, Any]]:
        """State and meta of one step; `target` gives shapes, dtypes and layout."""
        restored = self._manager.restore(
            step,
            args=ocp.args.Composite(
                state=ocp.args.StandardRestore(target), meta=ocp.args.JsonRestore()
            ),
        )
        return restored.state, restored.meta

    def restore_latest(
        self, target: Any, warn: Callable[[str], None]
    ) -> tuple[Any, dict[str, Any]] | None:
        """The newest checkpoint that can be read; None when there is none.

        A newest one that a full disk or a dying machine left damaged is named and passed over.

        Raises:
          ValueError: there are checkpoints, and none can be read.
        """
        steps = sorted(self._manager.all_steps(), reverse=True)
        for step in steps:
            restored, reason = None, "another process cannot read its part"
            try:
                restored = self.restore(target, step)
            except Exception as error:  # Orbax and tensorstore raise many kinds for a damaged file
                reason = f"{type(error).__name__}: {str(error).splitlines()[0][:200]}"
            if not processes.all_true(restored is not None):
                warn(f"checkpoint {self._directory}/{step} cannot be read ({reason})")
                continue
            for newer in steps[: steps.index(step)]:
                self._manager.delete(newer)  # its step is going to be saved anew
            return restored
        if steps:
            raise ValueError(
                f"none of the checkpoints {sorted(steps)} in {self._directory} can be read; "
                "remove that folder to start the stage again"
            )
        return None

    def wait(self) -> None:
        """Until everything saved is on disk."""
        self._manager.wait_until_finished()

    def close(self) -> None:
        self._manager.wait_until_finished()
        self._manager.close()


def restore_subtree(directory: epath.PathLike, step: int, target: Any) -> Any:
    """Only the leaves of `target` out of a saved state: an encoder without queue and optimizer.

    Args:
      directory: a stage's folder, as given to `Checkpoints`.
      target: a nested dict of `jax.ShapeDtypeStruct` (with shardings) under the state's own names.
    """
    path = stores.absolute(directory) / str(step) / "state"
    with ocp.PyTreeCheckpointer() as checkpointer:
        return checkpointer.restore(
            path,
            args=ocp.args.PyTreeRestore(
                item=target,
                partial_restore=True,
                restore_args=ocp.checkpoint_utils.construct_restore_args(target),
            ),
        )
