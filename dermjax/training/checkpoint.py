"""Checkpoints by Orbax, which only this module imports: what is saved, what is restored first."""

import json
from collections.abc import Callable
from typing import Any

import flax
import jax
import orbax.checkpoint as ocp
from absl import logging
from etils import epath
from orbax.checkpoint.checkpoint_managers import AnyPreservationPolicy, BestN, LatestN

import dermjax
from dermjax import stores
from dermjax.training import processes

_VERSIONS = {"dermjax": dermjax.__version__, "jax": jax.__version__, "flax": flax.__version__}
_SHOWN = 3  # leaves that a refusal names

# By default Orbax lets every device write a slice of each replicated array: on eight devices a
# program is compiled for nearly every leaf's slice, and a small network's save takes 1.5 s.
_verbosity = logging.get_verbosity()
logging.set_verbosity(logging.ERROR)  # it warns of what is done on purpose
ocp.type_handlers.register_type_handler(
    jax.Array, ocp.type_handlers.ArrayHandler(use_replica_parallel=False), override=True
)
logging.set_verbosity(_verbosity)
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
        self._lost: dict[int, str] = {}  # steps that had to go before Orbax would open the others
        if scored:
            processes.first_does(self._remove_without_score)
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
        """Write `state` under its own step, without waiting for the disk.

        One of the same step, saved before its score was known, is replaced.
        """
        if self.latest_step == int(state.step):
            self._manager.delete(int(state.step))
        if self._scored:
            metrics = {_SCORE: _UNSCORED if score is None else score}
        else:
            metrics = None
        self._manager.save(
            int(state.step),
            args=ocp.args.Composite(
                state=ocp.args.StandardSave(state),
                meta=ocp.args.JsonSave(meta | {"versions": _VERSIONS}),
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
          ValueError: there are checkpoints, and none can be read; or one is of another version,
            whose state has other leaves.
        """
        for step, reason in self._lost.items():
            warn(f"checkpoint {self._directory}/{step} cannot be read ({reason}) and is removed")
        steps = sorted(self._manager.all_steps(), reverse=True)
        for step in steps:
            self._check_structure(target, step)
            restored, reason = None, "another process cannot read its part"
            try:
                restored = self.restore(target, step)
            except Exception as error:  # Orbax and tensorstore raise many kinds for a damaged file
                reason = _brief(error)
            if not processes.all_true(restored is not None) or restored is None:
                warn(f"checkpoint {self._directory}/{step} cannot be read ({reason})")
                continue
            for newer in steps[: steps.index(step)]:
                self._manager.delete(newer)  # its step is going to be saved anew
            made_by = restored[1].get("versions", _VERSIONS)  # of before they were written down
            if made_by != _VERSIONS:
                warn(
                    f"checkpoint {self._directory}/{step} is of {_told(made_by)}, this is "
                    f"{_told(_VERSIONS)}: it continues, but perhaps not bit for bit"
                )
            return restored
        if steps:
            raise ValueError(
                f"none of the checkpoints {sorted(steps)} in {self._directory} can be read; "
                "remove that folder to start the stage again"
            )
        return None

    def _remove_without_score(self) -> None:
        """A lost score would let Orbax select another checkpoint, a damaged one open none."""
        # In a bucket a folder is not there before something lies in it.
        there = self._directory.iterdir() if self._directory.exists() else ()
        for folder in list(there):
            if not folder.name.isdigit():
                continue
            try:
                json.loads((folder / "metrics" / "metrics").read_text())[_SCORE]
            except (OSError, ValueError, KeyError, TypeError) as error:
                self._lost[int(folder.name)] = f"its score: {_brief(error)}"
                folder.rmtree()

    def _check_structure(self, target: Any, step: int) -> None:
        """Whether a checkpoint's state has the leaves of `target`; a damaged one is let through.

        Raises:
          ValueError: it has others; names them, and both versions.
        """
        differing, made_by = [], {}
        try:
            folder = stores.absolute(self._directory) / str(step) / "state"
            there = ocp.PyTreeCheckpointHandler().metadata(folder).tree
            differing = _differences(_leaves(there), _leaves(target))
            only_meta = ocp.args.Composite(meta=ocp.args.JsonRestore())
            made_by = self._manager.restore(step, args=only_meta).meta.get("versions", {})
        except Exception:  # as in restore_latest, which says it
            pass
        if not processes.all_true(not differing):
            more = f" and {len(differing) - _SHOWN} more" if len(differing) > _SHOWN else ""
            raise ValueError(
                f"checkpoint {self._directory}/{step} is of another version ({_told(made_by)}, "
                f"this is {_told(_VERSIONS)}), whose state differs: "
                f"{'; '.join(differing[:_SHOWN])}{more}. Continue with the version that made it, "
                "or take another --workdir"
            )

    def wait(self) -> None:
        """Until everything saved is on disk."""
        self._manager.wait_until_finished()

    def close(self) -> None:
        self._manager.wait_until_finished()
        self._manager.close()


def _brief(error: Exception) -> str:
    lines = str(error).splitlines()
    return f"{type(error).__name__}: {lines[0][:200] if lines else ''}"


def _told(versions: dict[str, str]) -> str:
    """`dermjax 0.1.0, jax 0.10.0, flax 0.12.0`."""
    return ", ".join(f"{name} {version}" for name, version in versions.items()) or "unknown"


def _leaves(tree: Any) -> dict[str, str]:
    """`params/conv/kernel` -> `float32 [3, 3, 8, 16]` of a state, or of Orbax's notes on one."""
    flat = ocp.tree.to_flat_dict(ocp.tree.serialize_tree(tree), sep="/")
    return {name: f"{leaf.dtype} {list(leaf.shape)}" for name, leaf in flat.items()}


def _differences(there: dict[str, str], here: dict[str, str]) -> list[str]:
    """`leaf: there, here` for every leaf that differs."""
    return [
        f"{name}: {there.get(name, 'none')} there, {here.get(name, 'none')} here"
        for name in sorted(there.keys() | here.keys())
        if there.get(name) != here.get(name)
    ]


def restore_subtree(directory: epath.PathLike, step: int, target: Any) -> Any:
    """Only the leaves of `target` out of a saved state: an encoder without queue and optimizer.

    Args:
      directory: a stage's folder, as given to `Checkpoints`.
      target: a nested dict of `jax.ShapeDtypeStruct` (with shardings) under the state's own names.

    Raises:
      ValueError: the checkpoint cannot be read.
    """
    path = stores.absolute(directory) / str(step) / "state"
    try:
        with ocp.PyTreeCheckpointer() as checkpointer:
            return checkpointer.restore(
                path,
                args=ocp.args.PyTreeRestore(
                    item=target,
                    partial_restore=True,
                    restore_args=ocp.checkpoint_utils.construct_restore_args(target),
                ),
            )
    except Exception as error:  # Orbax and tensorstore raise many kinds for a damaged file
        raise ValueError(
            f"checkpoint {directory}/{step} cannot be read ({_brief(error)}); remove {directory} "
            "to start the stage again"
        ) from error
