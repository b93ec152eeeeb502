"""All speed figures of a GPU or TPU in one command: steps, their pieces, depthwise forms, timm.

    python tests/benchmarks/accelerator.py --out=accelerator.json [--quick] [--only=train,moco]

Prints rows as they come and one table at the end; the file is whole after every row. Measurements
run in order of their worth until the budget is spent (`--list` shows them; `--only` takes prefixes
such as `train/512px-b64`). `--cache=DIR` keeps compiled programs for a second call. On CPU all
sizes are tiny. Needs jax, flax, optax and NumPy; torch and timm for the comparison.

Ceilings are an H200's (4.3 TB/s) for EfficientNet-B4 in bfloat16: training is bound by memory, so
"ideal" reads and writes what perfect fusion would, "unfused" leaves convolutions unfused with batch
norm and activation. Images come from device memory: reading files is not measured.
"""

import argparse
import dataclasses
import faulthandler
import os
import pathlib
import signal
import sys

# torch shares the device in the comparison: take memory as it is needed, and nearly all of it.
os.environ.setdefault("XLA_PYTHON_CLIENT_PREALLOCATE", "false")
os.environ.setdefault("XLA_PYTHON_CLIENT_MEM_FRACTION", "0.92")
HERE = pathlib.Path(__file__).resolve().parent
sys.path += [str(HERE), str(HERE.parents[1])]  # after an installed package, if there is one

import _layers  # noqa: E402
import _programs  # noqa: E402
import _timing  # noqa: E402
import _timm  # noqa: E402
import _torch_step  # noqa: E402
import jax  # noqa: E402
import jax.numpy as jnp  # noqa: E402
import numpy as np  # noqa: E402
from _plans import PAPER, TIMM_GOAL, TINY, Plan, against_ceilings  # noqa: E402
from _report import Report  # noqa: E402
from depthwise import layers  # noqa: E402
from jax.sharding import Mesh  # noqa: E402

from dermjax.training import compile_cache, parallel  # noqa: E402


class Benchmark:
    """The measurements; each adds its own rows to the report."""

    def __init__(self, plan: Plan, report: Report, devices: parallel.Devices):
        self.plan, self.report, self.devices = plan, report, devices
        config = _programs.load_config(HERE.parents[1] / "configs" / "common.py")
        config.model.name = plan.model
        config.data.max_side = plan.side
        config.finetune.image_size = plan.size
        config.pretrain.queue_size = plan.queue
        config.pretrain.hidden_dim = plan.hidden
        if plan.side < 64:  # groups of one image and 13 taps are too much for it
            config.pretrain.bn_groups = 2
        self.config = config
        self._trains = {}  # batch -> (program, compiled), shared by training and the comparison
        self._ran = set()  # batches of training that fitted
        self._layers = {}  # (dtype, layer) -> form -> ms

    def measurements(self, quick: bool) -> dict:
        """id -> function, in the order of their worth."""
        plan, first = self.plan, slice(1) if quick else slice(None)
        name = "{}px-b{}".format
        train = {
            f"train/{name(plan.size, b)}": lambda b=b: self.train(b) for b in plan.batches[first]
        }
        moco = {f"moco/{name(s, b)}": lambda s=s, b=b: self.moco(s, b) for s, b in plan.moco[first]}
        timm = {
            f"timm/{name(plan.size, b)}": lambda b=b: self.timm(b) for b in plan.timm_batches[first]
        }
        depthwise = [self._depthwise(dtype) for dtype in plan.dtypes[first]]
        steps = [list(section.items()) for section in (train, moco, timm)]
        ordered = {"device/copy": self.copy, "device/matmul": self.matmul}
        ordered |= {"device/dispatch": self.dispatch}
        ordered |= dict([*steps[0][:1], *steps[1][:1], *steps[2][:1]]) | depthwise[0]
        ordered |= {
            f"augment/moco-{s}px": lambda s=s: self.view("pretrain", s)
            for s in sorted({s for s, _ in plan.moco[first]})
        }
        ordered |= {f"augment/finetune-{plan.size}px": lambda: self.view("finetune", plan.size)}
        explain = {
            f"saliency/{size}px-{prior}-b{batch}": (
                lambda size=size, prior=prior, batch=batch: self.explain(size, prior, batch)
            )
            for size, prior, batch in plan.explained[: 2 if quick else None]
        }
        ordered |= dict(list(explain.items())[:2])
        batch = max(plan.batches[first])
        ordered |= {f"predict/{name(plan.size, batch)}": lambda: self.predict(batch)}
        # JAX keeps what memory it has taken: torch's turn is before the largest programs'.
        ordered |= dict([*steps[0][1:2], *steps[2][1:], *steps[0][2:], *steps[1][1:]])
        for more in depthwise[1:]:
            ordered |= more
        return ordered if quick else {**ordered, **explain, "train/largest": self.largest}

    def copy(self):
        """The device's bandwidth, which the ceilings rest on."""
        x = jnp.ones((self.plan.copied // 4,), jnp.float32)
        timing = self._time(jax.jit(lambda x: x + 1), x)
        self.report.add(
            "device/copy",
            2 * x.nbytes / timing.seconds / 1e9,
            "GB/s",
            f"x + 1 over {x.nbytes / 1e9:.3g} GB, read and written; an H200: 4,300",
        )

    def matmul(self):
        """The device's arithmetic."""
        side, dtype = self.plan.matrix, self.devices.compute_dtype
        noise = np.random.default_rng(0).standard_normal(1_000_003, np.float32)
        x = jnp.asarray(np.resize(noise, (side, side))).astype(dtype)
        timing = self._time(jax.jit(lambda x: x @ x), x)
        rate = 2 * side**3 / timing.seconds / 1e12
        hint = f"{dtype.name} product of {side} x {side} matrices; an H200 in bfloat16: 790"
        self.report.add("device/matmul", rate, "TFLOP/s", hint)

    def dispatch(self):
        """What one call of the smallest program takes."""
        timing = self._time(jax.jit(lambda x: x + 1), jnp.float32(0))
        hint = "one call of a program that adds two numbers: nothing below is measurable alone"
        self.report.add("device/dispatch", 1e6 * timing.seconds, "us", hint)

    def train(self, batch: int) -> None:
        """Supervised training, whole step."""
        id, size = f"train/{self.plan.size}px-b{batch}", self.plan.size
        program, compiled = self._train_program(batch)
        what = f"fine-tuning step, {self.plan.model}, {size} px, batch {batch}"
        self._steps(id, what, program, compiled, ("train", size), "images/s")
        self._ran.add(batch)

    def moco(self, size: int, batch: int) -> None:
        """Contrastive training, whole step."""
        id = f"moco/{size}px-b{batch}"
        program = _programs.moco_program(self.config, self.devices, batch, size)
        what = f"MoCo-v2 step, {self.plan.model}, {size} px, batch {batch}, K = {self.plan.queue}"
        compiled = self._compile(id, what, program)
        self._steps(id, what, program, compiled, ("moco", size), "pairs/s")

    def largest(self) -> None:
        """Doubles the batch until it does not fit."""
        batch, reason = max(self.plan.batches), f"no more than {self.plan.limit} was tried"
        while batch <= self.plan.limit:
            if batch not in self._ran:
                id = f"train/{self.plan.size}px-b{batch}"
                outcome = self.report.attempt(id, lambda batch=batch: self.train(batch))
                self._trains.pop(batch, None)
                if outcome != "ok":
                    reason = f"{batch}: {outcome}"
                    break
            batch *= 2
        hint = f"largest batch of the fine-tuning step that ran, by doubling ({reason})"
        self.report.add("train/largest", max(self._ran, default=None), "images", hint)

    def view(self, stage: str, size: int) -> None:
        """The augmentation alone."""
        augment = _programs.view(self.config[stage], size)
        batch, side = self.plan.views_batch, self.plan.side
        data = _programs.photographs(side, batch)
        images, sizes = jnp.asarray(data["image"]), jnp.asarray(data["size"])
        key, positions = jax.random.key(0), jnp.arange(batch)
        timing = self._time(jax.jit(augment), key, positions, images, sizes)
        names = {"pretrain": ("moco", "MoCo-v2"), "finetune": ("finetune", "fine-tuning")}
        name, what = names[stage]
        rate = batch / timing.seconds
        hint = (
            f"one {what} view {side} -> {size} px, batch {batch}: {1e3 / rate:.3g} ms an image; "
            f"{timing.spread}"
        )
        self.report.add(f"augment/{name}-{size}px", rate, "views/s", hint)

    def predict(self, batch: int) -> None:
        """Forward pass only, as in evaluation."""
        step, variables, data = _programs.predict_program(self.config, self.devices, batch)
        variables, data = jax.device_put((variables, data))
        compiled = _timing.compile_program(step, variables, data)
        timing = self.plan.clock.time_one(lambda: compiled.call(variables, data))
        text, figures = compiled.account(timing.seconds, batch)
        hint = f"forward pass only, batch {batch}; {text}; {timing.spread}"
        id = f"predict/{self.plan.size}px-b{batch}"
        self.report.add(id, batch / timing.seconds, "images/s", hint, **figures)

    def explain(self, size: int, prior: str, batch: int) -> None:
        """InputIBA; tests/benchmarks/saliency.py has the authors' way beside it."""
        plan = self.plan
        call, forwards = _programs.explain_program(
            plan.model, size, batch, self.devices.compute_dtype, prior=prior, **plan.explained_by
        )
        timing = dataclasses.replace(plan.clock, windows=3, warmup=1).time_one(call)
        hint = (
            f"InputIBA, prior {prior}, {plan.model}, {size} px, batch {batch}: {forwards:,} "
            f"forward passes an image; {timing.spread}"
        )
        self.report.add(
            f"saliency/{size}px-{prior}-b{batch}", timing.seconds / batch, "s/image", hint
        )

    def timm(self, batch: int) -> None:
        """Our step and timm's in alternating windows."""
        id = f"timm/{self.plan.size}px-b{batch}"
        if missing := _timm.missing():
            hint = f"comparison with timm: {missing} not installed"
            self.report.add(id, unit="torch/timm", hint=hint, status="skipped")
            return
        cuda = _torch_step.on_cuda()
        if not cuda and jax.default_backend() != "cpu":
            hint = "comparison with timm: this torch does not see the accelerator"
            self.report.add(id, unit="no device", hint=hint, status="skipped")
            return
        program, compiled = self._train_program(batch)
        for name in ("eager", "compiled") if cuda else ("eager",):
            self.report.attempt(
                f"{id}-{name}",
                lambda name=name: self._versus(f"{id}-{name}", name, program, compiled),
            )

    def _versus(self, id, name, program, compiled) -> None:
        """One comparison: rates of both and their ratio."""
        _torch_step.reset_peak()
        call, wait = _torch_step.make_step(
            self.config, program.images, _programs.CLASSES, compiled=name == "compiled"
        )
        ours = self._runner(program, compiled)
        times = self.plan.clock.time({"ours": ours, "timm": call}, {"timm": wait})
        rates = {who: program.images / timing.seconds for who, timing in times.items()}
        ratio, peak = rates["ours"] / rates["timm"], _torch_step.peak_bytes()
        kind = "channels_last" + (", bfloat16 autocast" if _torch_step.on_cuda() else ", float32")
        kind += ", torch.compile" if name == "compiled" else ", eager"
        memory = f", {peak / 1e9:.3g} GB" if peak else ""
        hint = (
            f"our step's speed over timm's ({kind}): {rates['ours']:,.1f} and {rates['timm']:,.1f} "
            f"images/s; ours augments, timm's does not; timm: {times['timm'].spread}{memory}"
        )
        if name == "compiled":
            hint += f"; goal {TIMM_GOAL}: {'reached' if ratio >= TIMM_GOAL else 'missed'}"
        self.report.add(id, ratio, "x timm", hint, **rates, torch_peak_bytes=peak)

    def _depthwise(self, dtype: str) -> dict:
        """id -> function of every distinct layer, and of their sum."""
        found = layers(self.plan.model, self.plan.size)
        names = {layer: "k{}s{}-{}px-{}c".format(*layer) for layer in found}
        each = {
            f"depthwise/{dtype}-{names[layer]}": (
                lambda layer=layer: self._layer(dtype, layer, names[layer], found[layer])
            )
            for layer in found
        }
        return each | {f"depthwise/{dtype}-sum": lambda: self._layers_sum(dtype, found)}

    def _layer(self, dtype, layer, name, count) -> None:
        batch, clock = self.plan.layers_batch, self.plan.layers_clock
        times, errors, ran = _layers.measure_layer(layer, dtype, batch, clock)
        self._layers[dtype, layer] = times
        best = _layers.winners(times)
        hint = f"best of all three parts, ms per {batch} images (ran {ran}), {count} layers: "
        hint += "; ".join([_layers.describe(times), *(f"{n}: {e}" for n, e in errors.items())])
        total = sum(times[f"{part} {form}"] for part, form in best.items())
        unit = "ms" if len(best) == len(_layers.PARTS) else "ms, partly"
        self.report.add(f"depthwise/{dtype}-{name}", total, unit, hint, ms=times, best=best)

    def _layers_sum(self, dtype, found) -> None:
        """Over all layers of the network, of those forms that ran on every measured layer."""
        rows = {layer: self._layers.get((dtype, layer)) for layer in found}
        rows = {layer: times for layer, times in rows.items() if times}
        if not rows:
            raise ValueError("no layer was measured")
        common = set.intersection(*(set(times) for times in rows.values()))
        order = [name for name in next(iter(rows.values())) if name in common]
        sums = {n: sum(found[layer] * t[n] for layer, t in rows.items()) for n in order}
        best = _layers.winners(sums)
        use = ", ".join(f"{part} {form}" for part, form in best.items())
        hint = (
            f"{sum(found[layer] for layer in rows)} of {sum(found.values())} layers, "
            f"ms per {self.plan.layers_batch} images: {_layers.describe(sums)}. Use: {use}"
        )
        total = sum(sums[f"{part} {form}"] for part, form in best.items())
        self.report.add(f"depthwise/{dtype}-sum", total, "ms", hint, ms=sums, best=best)

    def _train_program(self, batch: int):
        if batch not in self._trains:
            id = f"train/{self.plan.size}px-b{batch}"
            program = _programs.train_program(self.config, self.devices, batch)
            self._trains[batch] = program, self._compile(id, "fine-tuning step", program)
        return self._trains[batch]

    def _compile(self, id: str, what: str, program) -> _timing.Compiled:
        state = self.devices.replicate(program.state)
        compiled = _timing.compile_program(program.step, state, self.devices.put(program.batch))
        cached = ", taken from the cache" if compiled.from_cache else ""
        hint = f"{what}: compiling{cached}, after {compiled.trace_seconds:.1f} s of tracing"
        trace = compiled.trace_seconds
        self.report.add(f"{id}:compile", compiled.compile_seconds, "s", hint, trace_seconds=trace)
        return compiled

    def _runner(self, program, compiled):
        """A call that runs one step on the state that the last one left."""
        state = self.devices.replicate(program.state)
        batch = self.devices.put(program.batch)

        def call():
            nonlocal state
            state, metrics = compiled.call(state, batch)
            return metrics

        return call

    def _steps(self, id, what, program, compiled, kind, unit) -> None:
        """Times a training step and holds it against the ceilings."""
        call = self._runner(program, compiled)
        timing = self.plan.clock.time_one(call)
        loss, rate = float(call()["loss"]), program.images / timing.seconds
        text, figures = compiled.account(timing.seconds, program.images)
        peak = _timing.peak_bytes()
        memory = f"{compiled.planned / 1e9:.3g} GB by XLA's plan"
        memory += f", process peak {peak / 1e9:.3g} GB" if peak else ""
        goal = against_ceilings(kind, rate) if self.plan.model == PAPER.model else ""
        hint = f"{what}; {goal}{text}; {memory}; {timing.spread}"
        if not np.isfinite(loss):
            hint += f"; loss {loss}"
        figures |= {"planned_bytes": compiled.planned, "process_peak_bytes": peak, "loss": loss}
        self.report.add(id, rate, unit, hint, **figures, **dataclasses.asdict(timing))

    def _time(self, function, *args) -> _timing.Timing:
        return self.plan.clock.time_one(lambda: function(*args))


def main() -> None:
    """Runs what was asked for and prints the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=pathlib.Path, help="JSON file of all rows")
    parser.add_argument("--quick", action="store_true", help="first sizes only, shorter windows")
    parser.add_argument("--tiny", action="store_true", help="a toy network, as always on CPU")
    parser.add_argument("--only", default="", help="prefixes of measurements, by commas")
    parser.add_argument("--budget", type=float, default=480, help="seconds; none starts later")
    parser.add_argument("--cache", type=pathlib.Path, help="folder of compiled programs")
    parser.add_argument("--list", action="store_true", help="names the measurements and leaves")
    args = parser.parse_args()
    faulthandler.enable()  # two libraries share the device: a crash should say where
    if args.cache:
        compile_cache.keep_compiled(args.cache)
    # One device, as the ceilings are per device.
    devices = parallel.Devices(Mesh(np.array(jax.devices()[:1]), (parallel.AXIS,)))
    plan = TINY if args.tiny or devices.platform == "cpu" else PAPER
    if args.quick:
        shorter = {"windows": 3, "seconds": plan.clock.seconds / 3}
        plan = dataclasses.replace(plan, clock=dataclasses.replace(plan.clock, **shorter))
    heading = {
        "device": devices.kind,
        "platform": devices.platform,
        "dtype": devices.compute_dtype.name,
        "jax": jax.__version__,
        "arguments": {name: str(value) for name, value in vars(args).items()},
        "plan": dataclasses.asdict(plan),
    }
    report = Report(None if args.list else args.out, heading, args.budget)
    chosen = tuple(filter(None, args.only.split(",")))
    measurements = Benchmark(plan, report, devices).measurements(args.quick)
    if chosen:
        measurements = {id: f for id, f in measurements.items() if id.startswith(chosen)}
    if not measurements:
        parser.error(f"--only={args.only} fits no measurement; --list names them")
    if args.list:
        print("\n".join(measurements))
        return
    run(report, measurements, f"{devices.kind}, {plan.model}, {heading['dtype']}")


def run(report: Report, measurements: dict, title: str) -> None:
    """Runs the measurements and prints the table, also when the process is told to stop."""

    def conclude():
        print(f"\n{title}, jax {jax.__version__}\n{report.table()}", flush=True)

    def stop(signum, frame):
        conclude()
        os._exit(128 + signum)  # Python's own way out crashes while XLA compiles

    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, stop)
    for id, measure in measurements.items():
        report.attempt(id, measure)
    conclude()


if __name__ == "__main__":
    main()
