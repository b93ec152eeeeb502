"""The rows of the TPU table: chips, the programs that are compiled for them, and the compilation.

A row's name says what it is: `finetune-v5e-4` is the paper's fine-tuning with the config's own
batch on four chips; `-x32` takes 32 images on each chip instead, `-p2` computes them in two parts
(`accumulate_steps`).
"""

import dataclasses
import functools
import importlib.util
import pathlib
import re
import time

import _programs
import _tpu_cost
import jax
import jax.numpy as jnp
import numpy as np
from jax.experimental import topologies
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from dermjax import models, saliency
from dermjax.saliency.input_iba import input_bottleneck
from dermjax.settings.devices import check_division
from dermjax.training import parallel

CONFIGS = pathlib.Path(__file__).resolve().parents[2] / "configs"
# What a process that compiles needs from its start: the compiler takes its machine for a TPU's, and
# several processes may load it at a time.
ENVIRONMENT = {
    "JAX_PLATFORMS": "cpu",
    "TPU_SKIP_MDS_QUERY": "1",
    "TPU_WORKER_HOSTNAMES": "localhost",
    "TPU_WORKER_ID": "0",
    "TPU_ACCELERATOR_TYPE": "v5litepod-4",
    "ALLOW_MULTIPLE_LIBTPU_LOAD": "1",
}
PROGRAMS = ("finetune", "pretrain", "predict")
ALL_PROGRAMS = (*PROGRAMS, *(f"small-{name}" for name in PROGRAMS), "explain")
EXPLAINED = 2  # images that InputIBA explains at once, each of which is drawn ten times


@dataclasses.dataclass(frozen=True)
class Chip:
    """A kind of TPU as its maker states it, and the shapes of its slices by the number of chips."""

    tflops: float  # peak in bfloat16
    memory: float  # GB
    bandwidth: float  # GB/s of the memory
    multiplications: int  # of bfloat16 numbers in a cycle, by all matrix units
    shapes: dict[int, str]

    @property
    def hertz(self) -> float:
        """The clock at which the matrix units reach the peak."""
        return 1e12 * self.tflops / (2 * self.multiplications)


_FLAT = {1: "1x1", 4: "2x2", 8: "2x4", 32: "4x8", 256: "16x16"}
_CUBIC = {1: "1x1x1", 4: "2x2x1", 8: "2x2x2", 32: "2x4x4", 256: "4x8x8"}
CHIPS = {
    "v4": Chip(275, 32, 1228, 8 * 128**2, _CUBIC),
    "v5e": Chip(197, 16, 819, 4 * 128**2, _FLAT),
    "v5p": Chip(459, 95, 2765, 8 * 128**2, _CUBIC),
    "v6e": Chip(918, 32, 1640, 4 * 256**2, _FLAT),
}


@dataclasses.dataclass(frozen=True)
class Row:
    """One program for one slice."""

    program: str
    chip: str
    count: int
    images: int = 0  # on each chip; 0: the config's batch over all of them
    parts: int = 1

    @property
    def name(self) -> str:
        images = f"-x{self.images}" if self.images else ""
        parts = f"-p{self.parts}" if self.parts > 1 else ""
        return f"{self.program}-{self.chip}-{self.count}{images}{parts}"

    @property
    def scale(self) -> str:
        return "small" if self.program.startswith("small-") else "paper"

    @property
    def kind(self) -> str:
        """finetune, pretrain, predict or explain."""
        return self.program.removeprefix("small-")


def parse_row(name: str) -> Row:
    """The row of a name.

    Raises:
      ValueError: no such program, chip or number of chips.
    """
    return row_of(name, {chip: tuple(known.shapes) for chip, known in CHIPS.items()}, "chip")


def row_of(name: str, counts: dict[str, tuple[int, ...]], kind: str) -> Row:
    """The row of a name, of devices that exist in these numbers.

    Raises:
      ValueError: no such program, device or number of devices.
    """
    programs, devices = "|".join(ALL_PROGRAMS), "|".join(counts)
    found = re.fullmatch(rf"({programs})-({devices})-(\d+)(?:-x(\d+))?(?:-p(\d+))?", name)
    if not found or int(found[3]) not in counts[found[2]]:
        some = ", ".join(map(str, next(iter(counts.values()))))
        raise ValueError(
            f"{name!r} is no row: PROGRAM-{kind.upper()}-COUNT[-xIMAGES][-pPARTS] with a program "
            f"of {', '.join(ALL_PROGRAMS)}, a {kind} of {', '.join(counts)}, and {some} {kind}s"
        )
    return Row(found[1], found[2], int(found[3]), int(found[4] or 0), int(found[5] or 1))


def default_rows() -> list[Row]:
    """What is compiled unless rows are named, the cheapest first: what can be spread at all."""
    rows = [Row(program, chip, 1) for program in ("predict", "explain") for chip in CHIPS]
    for program in ("small-finetune", "small-pretrain", "finetune", "pretrain"):
        spread = [Row(program, chip, count) for chip in CHIPS for count in CHIPS[chip].shapes]
        rows += filter(_can_be_spread, spread)
        rows += [Row(program, chip, 4, images=32) for chip in CHIPS]
    return rows


def _can_be_spread(row: Row) -> bool:
    """Whether the config has as many images, and groups of batch norm, as the chips need."""
    stage = load_config(row)[row.kind]
    try:
        check_division(stage.batch_size, stage.bn_groups, row.count, field=row.kind)
    except ValueError:
        return False
    return True


def load_config(row: Row, model: str = "", size: int = 0):
    """The config of the row's scale and parts, with another network and image size if asked."""
    config = _programs.load_config(CONFIGS / "common.py", row.scale)
    config.finetune.accumulate_steps = config.pretrain.accumulate_steps = row.parts
    config.model.name = model or config.model.name
    if size:
        config.data.max_side = config.finetune.image_size = config.pretrain.image_size = size
    return config


def global_batch(row: Row, config) -> int:
    """Images of all chips together."""
    if row.images:
        return row.images * row.count
    batches = {"explain": EXPLAINED * row.count, "predict": config.evaluate.batch_size}
    return batches.get(row.kind) or config[row.kind].batch_size


def missing() -> str:
    """Why nothing can be compiled for TPUs here; "" where it can."""
    if importlib.util.find_spec("libtpu") is None:
        return "libtpu cannot be imported: pip install -e '.[tpu]' (x86-64 Linux only)"
    return ""


def slice_of(chip: str, count: int) -> parallel.Devices:
    """Chips that are not there, in one row.

    The two cores of a v4 or v5p chip work as one device, as they do on Cloud TPU VMs.
    """
    given = {"chips_per_host_bounds": (1, 1, 1)} if count == 1 else {}
    if CHIPS[chip].shapes is _CUBIC:
        given["chip_config_name"] = "megacore"
    topology = topologies.get_topology_desc(f"{chip}:{CHIPS[chip].shapes[count]}", "tpu", **given)
    return parallel.Devices(Mesh(np.array(topology.devices), (parallel.AXIS,)))


def lower(row: Row, devices: parallel.Devices, config, platform: str):
    """The row's program as it is handed to the platform's compiler."""
    batch = global_batch(row, config)
    everywhere, divided = PartitionSpec(), PartitionSpec(parallel.AXIS)

    def shapes(tree, spec):
        sharding = NamedSharding(devices.mesh, spec)
        return jax.tree.map(
            lambda x: jax.ShapeDtypeStruct(np.shape(x), x.dtype, sharding=sharding), tree
        )

    if row.kind == "explain":
        step, state, given = _explanation(config, devices, batch)
    elif row.kind == "predict":
        step, state, given = _programs.predict_program(config, devices, batch)
    else:
        if row.kind == "pretrain":
            size = config.pretrain.image_size
            program = _programs.moco_program(config, devices, batch, size)
        else:
            program = _programs.train_program(config, devices, batch)
        step, state, given = program.step, program.state, program.batch
    traced = step.trace(shapes(state, everywhere), shapes(given, divided))
    return traced.lower(lowering_platforms=(platform,))


def _explanation(config, devices: parallel.Devices, batch: int):
    """InputIBA's optimisation of the pixels, mapped over the devices as explaining does it."""
    model = models.create(
        config.model.name,
        num_classes=_programs.CLASSES,
        dtype=devices.compute_dtype,
        phased=devices.platform == "tpu",
    )
    settings = saliency.InputIBASettings(layer=model.layers[-1])
    size = config.finetune.image_size
    image = jax.ShapeDtypeStruct((1, size, size, 3), jnp.float32)
    init = functools.partial(model.init, train=False)
    variables = jax.eval_shape(init, jax.random.key(0), image)

    def step(variables, batch):
        found = input_bottleneck(
            model,
            variables,
            batch["image"],
            batch["target"],
            keys=jax.random.wrap_key_data(batch["key"]),
            prior=batch["prior"],
            settings=settings,
        )
        return jax.nn.sigmoid(found.logits).mean(-1)

    mapped = jax.shard_map(
        step,
        mesh=devices.mesh,
        in_specs=(PartitionSpec(), PartitionSpec(parallel.AXIS)),
        out_specs=PartitionSpec(parallel.AXIS),
        check_vma=False,
    )
    shape = (batch, size, size)
    given = {
        "image": jax.ShapeDtypeStruct((*shape, 3), jnp.float32),
        "target": jax.ShapeDtypeStruct((batch,), jnp.int32),
        "key": jax.ShapeDtypeStruct((batch, 2), jnp.uint32),
        "prior": jax.ShapeDtypeStruct((*shape, 1), jnp.float32),
    }
    return jax.jit(mapped), variables, given


def compile_row(row: Row, model: str = "", size: int = 0) -> dict:
    """All that the table says of a row; `error` where the compiler refuses the program.

    Args:
      model, size: as for `load_config`.
    """
    found, compiled = compile_for(slice_of(row.chip, row.count), row, model, size)
    if compiled is None:
        return found
    found["flops"] = compiled.cost_analysis()["flops"]
    return found | describe(compiled.as_text())


def compile_for(
    devices: parallel.Devices, row: Row, model: str, size: int, platform: str = "tpu"
) -> tuple[dict, jax.stages.Compiled | None]:
    """What is told of a row on any devices, and the program; None, with `error`, if it is refused.

    Args:
      model, size: as for `load_config`.
    """
    config = load_config(row, model, size)
    found = {"row": row.name, "model": model, "size": size, "batch": global_batch(row, config)}
    found["jax"] = jax.__version__
    start = time.process_time()
    lowered = lower(row, devices, config, platform)
    found["lower_seconds"] = round(time.process_time() - start, 1)
    start = time.process_time()
    try:
        compiled = lowered.compile()
    except jax.errors.JaxRuntimeError as error:
        found["compile_seconds"] = round(time.process_time() - start, 1)
        return found | {"error": shortened(str(error))}, None
    found["compile_seconds"] = round(time.process_time() - start, 1)
    memory = compiled.memory_analysis()
    kinds = ("argument", "temp", "output", "alias")
    found["bytes"] = {kind: getattr(memory, f"{kind}_size_in_bytes") for kind in kinds}
    return found, compiled


def describe(text: str) -> dict:
    """What a row keeps of the compiled program's text."""
    cost = _tpu_cost.read_cost(text)
    collectives: dict[str, list] = {}
    for one in cost.collectives():
        sums = collectives.setdefault(one.kind, [0, 0.0])
        sums[0], sums[1] = sums[0] + 1, sums[1] + one.network_bytes
    return {
        "cycles": cost.cycles,
        "copied": round(cost.copied, 4),
        "traffic": cost.traffic,
        "unknown_loops": cost.unknown_loops,
        "unbounded": [f"{one.layer or one.name} {one.shape[:60]}" for one in cost.unbounded],
        "dearest": [
            [one.total, one.kind, one.shape[:60], one.layer, "backward" if one.backward else ""]
            for one in cost.dearest(10)
        ],
        "collectives": collectives,
    }


def shortened(message: str) -> str:
    """The compiler's complaint, of which the first lines say what is lacking."""
    used = re.search(r"Used [\d.]+\w of [\d.]+\w \w+", message)
    return used[0] if used else " ".join(message.split())[:300]
