"""What communication costs on many devices, on paper: the training steps' collectives, counted.

    python tests/benchmarks/scaling.py
    python tests/benchmarks/scaling.py --achieved=0.05 --link="TPU v4=150,5"

Lowers the steps of the paper's config (MoCo-v2, fine-tuning; B4 at 512 px in bfloat16) for TPU and
each device count, without arrays and without compiling, counts number and bytes of the collectives,
and predicts their share of a step over each link. Two readings: the config's own batch over more
devices, and a batch that grows with them. --compile=8 compiles the former for 8 CPU devices, too
(minutes), and compares. Nothing is measured: the speeds are assumptions, which are printed.
"""

import argparse
import dataclasses
import os
import pathlib
import sys

MOST = 256  # devices
os.environ |= {"JAX_PLATFORMS": "cpu", "JAX_NUM_CPU_DEVICES": str(MOST)}
HERE = pathlib.Path(__file__).resolve().parent
sys.path += [str(HERE), str(HERE.parents[1])]  # after an installed package, if there is one

import _collectives  # noqa: E402
import _programs  # noqa: E402
import jax  # noqa: E402
import jax.numpy as jnp  # noqa: E402
import numpy as np  # noqa: E402
from _links import LINKS, ROLES, Step, changed, other_forms, predict  # noqa: E402
from jax.sharding import Mesh  # noqa: E402

from dermjax.settings.devices import check_division  # noqa: E402
from dermjax.training import parallel  # noqa: E402

NAMES = {"pretrain": "MoCo-v2", "finetune": "fine-tuning"}
READ = 8  # images of the program whose arithmetic is counted
NOTES = """\
Times: arithmetic = XLA's count of operations of the step on one device, as lowered for TPU, per
image, over a share of the chip's peak in bfloat16 (--achieved: {achieved}). B4 is bound by memory
instead: the goal on an H200, 650 pairs/s, is .04 of its peak; .3 overstates communication's share.
Nothing overlaps; `best` is the efficiency if all communication ran beside the arithmetic. Bytes are
those a device sends on a ring: n - 1 nths of what it gets (all-gather) or puts in (reduce-scatter),
twice that in an all-reduce. `in series`: the batch norms' collectives, each of which waits for the
layer before it, and one of each other kind, which compilers join; each costs the link's latency."""


class Accelerators(parallel.Devices):
    """CPU devices that programs for accelerators are lowered for."""

    compute_dtype = jnp.dtype(jnp.bfloat16)


@dataclasses.dataclass
class Programs:
    """The training steps as they are lowered for so many devices."""

    model: str
    size: int
    side: int

    def __post_init__(self):
        self.config = _programs.load_config(HERE.parents[1] / "configs" / "common.py")
        self.config.model.name, self.config.data.max_side = self.model, self.side
        self.config.finetune.image_size = self.config.pretrain.image_size = self.size
        self._flops, self._steps = {}, {}

    def lower(self, stage: str, devices: int, batch: int, platform: str = "tpu"):
        """The lowered step, and its state's shapes."""
        mesh = Mesh(np.array(jax.devices()[:devices]), (parallel.AXIS,))
        if stage == "pretrain":
            program = _programs.moco_program(self.config, Accelerators(mesh), batch, self.size)
        else:
            program = _programs.train_program(self.config, Accelerators(mesh), batch)
        shapes = jax.tree.map(
            lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype), (program.state, program.batch)
        )
        return program.step.trace(*shapes).lower(lowering_platforms=(platform,)), shapes[0]

    def step(self, stage: str, devices: int, batch: int) -> Step | None:
        """The step's account; None where the batch or its groups cannot be spread."""
        groups = self.config[stage].bn_groups
        try:
            check_division(batch, groups, devices, field=stage)
        except ValueError:
            return None
        if stage not in self._flops:
            cost = self.lower(stage, 1, READ)[0].cost_analysis()
            self._flops[stage] = cost["flops"] / READ
        key = stage, devices, batch
        if key not in self._steps:
            lowered, state = self.lower(*key)
            self._steps[key] = Step(
                batch,
                devices,
                groups,
                _collectives.of_lowered(lowered) if devices > 1 else [],
                self._flops[stage] * batch / devices,
                layer_bytes(state.batch_stats),
            )
        return self._steps[key]

    def compare(self, stage: str, devices: int) -> str:
        """Whether the compiled program holds the bytes of the lowered one."""
        lowered, _ = self.lower(stage, devices, self.config[stage].batch_size, "cpu")
        before = _collectives.of_lowered(lowered)
        after = _collectives.of_compiled(lowered.compile().as_text())
        rows = [f"{NAMES[stage]}, {devices} CPU devices, MB on the network: lowered / compiled"]
        for kind in sorted({c.kind for c in before + after}):
            cells = []
            for found in (before, after):
                chosen = [c for c in found if c.kind == kind]
                sent = sum(c.network_bytes for c in chosen)
                cells.append(f"{len(chosen):5} of {sent / 1e6:10.4f}")
            rows.append(f"  {kind:16} {' / '.join(cells)}")
        return "\n".join(rows)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    add = parser.add_argument
    add("--model", default="efficientnet_b4")
    add("--size", type=int, default=512, help="px of both steps; the config pretrains at 380")
    add("--side", type=int, default=512, help="px of the stored photographs")
    add("--devices", default="1,8,32,128,256", help=f"counts, at most {MOST}")
    add("--images", type=int, default=32, help="on each device, where the batch grows with them")
    add("--achieved", default="0.3,0.05", help="shares of the chip's peak")
    add("--link", action="append", default=[], help="NAME=GB/s[,us] instead of what is stated")
    add("--compile", type=int, default=0, help="CPU devices to compile the config's batch for")
    args = parser.parse_args()
    counts = sorted({int(n) for n in args.devices.split(",")})
    achieved = [float(share) for share in args.achieved.split(",")]
    try:
        links = changed(LINKS, args.link)
        if max(*counts, args.compile) > MOST or counts[0] < 1:
            raise ValueError(f"--devices={args.devices}: take from 1 to {MOST}")
    except ValueError as error:
        parser.error(str(error))

    print(f"{args.model} at {args.size} px, photographs of {args.side} px\n")
    print(NOTES.format(achieved=args.achieved), "\n")
    for link in links:
        speeds = f"{link.tflops:g} TFLOP/s, {link.bandwidth:g} GB/s, {link.latency:g} us"
        print(f"  {link.name:9} {speeds:32} {link.source}")
    programs = Programs(args.model, args.size, args.side)
    for stage in NAMES:
        paper = programs.config[stage].batch_size
        readings = {
            f"the config's batch of {paper}": lambda n, paper=paper: paper,
            f"{args.images} images on each device": lambda n: n * args.images,
        }
        for reading, batch in readings.items():
            steps = [programs.step(stage, n, batch(n)) for n in counts]
            print(f"\n== {NAMES[stage]}, {reading} ==")
            if None in steps:
                left_out = [n for n, step in zip(counts, steps, strict=True) if step is None]
                print(f"cannot be spread over {', '.join(map(str, left_out))} devices")
            steps = [step for step in steps if step]
            print_bytes(steps)
            if steps and steps[-1].devices > 1:
                print_shares(steps, links, achieved)
                print_forms(steps, links)
        if args.compile:
            print("\n" + programs.compare(stage, args.compile), flush=True)


def layer_bytes(statistics) -> tuple[int, ...]:
    """Bytes of each batch norm's means and variances."""
    layers = jax.tree.leaves(statistics, is_leaf=lambda node: "mean" in node)
    return tuple(sum(x.size * x.dtype.itemsize for x in layer.values()) for layer in layers)


def print_bytes(steps: list[Step]) -> None:
    """What each device sends, by device count."""
    print(
        "\nnetwork MB of a device a step (number of collectives); MB of gathered photographs on it"
    )
    rows = []
    for step in steps:
        cells = [f"{step.sent(role) / 1e6:,.2f} ({len(step.of(role))})" for role in ROLES]
        held = f"{step.gathered / 1e6:,.0f}"
        gflop = f"{step.flops / 1e9:,.0f}"
        rows.append([step.devices, step.batch, gflop, *cells, step.series, held])
    table(["devices", "batch", "GFLOP", *ROLES, "in series", "held MB"], rows)


def print_shares(steps: list[Step], links, achieved: list[float]) -> None:
    """Communication's share of a step and the efficiency, by link and device count."""
    print(
        "\nms of communication; at each share of the peak: ms of arithmetic, communication's share"
    )
    print("of the step, efficiency, efficiency at best")
    heading = ["link", "devices", *ROLES, "latency"]
    for share in achieved:
        heading += [f"at {share:g}:", "share", "eff.", "best"]
    rows = []
    for link, step in pairs(links, steps):
        made = [predict(step, link, share) for share in achieved]
        row = [link.name, step.devices]
        row += [f"{1e3 * made[0].transfer[role]:.2f}" for role in ROLES]
        row += [f"{1e3 * made[0].latency:.2f}"]
        for m in made:
            percent = [100 * m.share, 100 * (1 - m.share), 100 * m.overlapped]
            row += [f"{1e3 * m.compute:.2f}", *(f"{p:.0f}%" for p in percent)]
        rows.append(row)
    table(heading, rows)


def print_forms(steps: list[Step], links) -> None:
    """Other exact forms of the shuffle and of batch norm."""
    steps = [step for step in steps if step.devices > 1]
    forms = [other_forms(step) for step in steps]
    names = list(forms[0])
    print("\nother exact forms, network MB of a device and ms with latencies: the key encoder's")
    print(
        "shuffle (pixels and its batch norms), and all batch norms; `gather` is what the step does"
    )
    rows = []
    for step, form in zip(steps, forms, strict=True):
        sent = [sum(c.network_bytes for c in form[name]) for name in names]
        rows.append(["MB", step.devices, *(f"{number / 1e6:,.2f}" for number in sent)])
    for link in links:
        for step, form in zip(steps, forms, strict=True):
            by = link.between(step.devices)
            times = [1e3 * sum(map(by.seconds, form[name])) for name in names]
            waits = [len(form[name]) * by.latency / 1e3 for name in names]
            both = [f"{a + b:.2f}" for a, b in zip(times, waits, strict=True)]
            rows.append([link.name, step.devices, *both])
    table(["", "devices", *names], rows)


def pairs(links, steps: list[Step]):
    """Each link with each step on several devices."""
    return [(link, step) for link in links for step in steps if step.devices > 1]


def table(heading: list[str], rows: list[list]) -> None:
    """Prints columns, the first to the left."""
    texts = [[str(cell) for cell in row] for row in [heading, *rows]]
    widths = [max(map(len, column)) for column in zip(*texts, strict=True)]
    for row in texts:
        cells = [cell.rjust(width) for cell, width in zip(row, widths, strict=True)]
        cells[0] = row[0].ljust(widths[0])
        print("  " + "  ".join(cells), flush=True)


if __name__ == "__main__":
    main()
