"""What XLA's TPU compiler expects a program to cost, read from the text of the compiled program.

Most instructions of the scheduled program (HLO) carry the compiler's own estimate in their backend
config, `"estimated_cycles":"N"`. It is a cost model and no measurement: it serves for ratios. What
runs beside the arithmetic (collectives, transfers that were started early) and custom calls carry
none.
"""

import collections
import dataclasses
import math
import re
from collections.abc import Iterator

import _collectives

_COMPUTATION = re.compile(r"^(ENTRY )?%?([\w.<>-]+) \(.*\{$")
# A tuple's shape contains spaces, and its layouts parentheses: the kind is the first lower-case
# word in front of a parenthesis behind a space.
_INSTRUCTION = re.compile(r"^\s+(ROOT )?%?([\w.-]+) = (.*?) ([a-z][\w-]*)\((.*)$")
# As networks name their parts, and not as JAX names its operations (conv_general_dilated).
_LAYER = re.compile(
    r"blocks_|layer\d|conv\d|conv_(?!general|transpose)|bn\d|se$|fc|classifier|head"
)
_COLLECTIVES = {kind.replace("_", "-") for kind in _collectives.KINDS}
# These move nothing: they name a part of something, or wait for what another one has started.
_FREE = {"parameter", "constant", "tuple", "get-tuple-element", "bitcast", "while", "conditional"}
_FREE |= {"call", "after-all", "partition-id", "replica-id", "opt-barrier"}
_WIDTHS = {"pred": 1, "bf16": 2, "c64": 8, "c128": 16}  # bytes of an element
_MOVES = {"copy", "transpose", "bitcast", "reshape", "fusion", "slice", "concatenate", "pad"}


_UNBOUNDED = 2**62  # cycles: estimates from here on are the largest number that fits


@dataclasses.dataclass(frozen=True)
class Instruction:
    """One instruction of the scheduled program, and how often it runs."""

    name: str
    kind: str  # as HLO names it: fusion, copy, convolution, ...
    shape: str  # of its result, with the layout
    layer: str  # `blocks_1_0/conv_dw`, "" where it belongs to none
    backward: bool  # whether it belongs to a gradient
    cycles: int  # of one run; 0 where the compiler has no estimate
    times: int
    traffic: int = 0  # bytes of one run between the chip's memory and its cores, padding included
    rest: str = dataclasses.field(default="", repr=False)  # of its line: operands and attributes
    unbounded: bool = False  # the compiler's estimate was the largest number there is

    @property
    def total(self) -> int:
        """Cycles of all runs."""
        return self.cycles * self.times

    @property
    def is_copy(self) -> bool:
        """Whether it only moves numbers from one layout to another."""
        words = set(re.sub(r"[.\d]+", "", self.name).replace("clone", "").split("_"))
        return self.kind in ("copy", "transpose") or (
            self.kind == "fusion" and words <= _MOVES and bool(words & {"copy", "transpose"})
        )


@dataclasses.dataclass(frozen=True)
class Cost:
    """The instructions of a program, and how many of its loops are of unknown length."""

    instructions: list[Instruction]
    unknown_loops: int

    @property
    def cycles(self) -> int:
        """Of the whole program; a loop of unknown length counts as one round."""
        return sum(one.total for one in self.instructions)

    @property
    def unbounded(self) -> list[Instruction]:
        """Those whose cycles the compiler could not estimate: they count as none."""
        return [one for one in self.instructions if one.unbounded]

    @property
    def traffic(self) -> int:
        """Bytes through the chip's memory; what stays in the cores' own is not counted."""
        return sum(one.traffic * one.times for one in self.instructions)

    @property
    def copied(self) -> float:
        """The share of the cycles that copies between layouts take."""
        return sum(one.total for one in self.instructions if one.is_copy) / max(1, self.cycles)

    def collectives(self) -> list[_collectives.Collective]:
        """What is sent between chips, each as often as it runs."""
        found = []
        for one in self.instructions:
            kind = one.kind.removesuffix("-start")
            if kind in _COLLECTIVES:
                shapes = _results(one)
                made = _collectives.of_line(one.rest, shapes, kind.replace("-", "_"))
                found += [made] * one.times
        return found

    def by_kind(self) -> dict[str, int]:
        """Cycles of each kind of instruction, the dearest first."""
        return self._summed(lambda one: "copy" if one.is_copy else one.kind)

    def by_layer(self) -> dict[str, int]:
        """Cycles of each layer, forward and backward apart, the dearest first."""
        return self._summed(lambda one: one.layer + (" backward" if one.backward else ""))

    def dearest(self, count: int) -> list[Instruction]:
        """The instructions that take most cycles."""
        return sorted(self.instructions, key=lambda one: -one.total)[:count]

    def _summed(self, key) -> dict[str, int]:
        sums: collections.Counter = collections.Counter()
        for one in self.instructions:
            sums[key(one)] += one.total
        return {name: cycles for name, cycles in sums.most_common() if cycles}


def read_cost(text: str) -> Cost:
    """The cost of a program from `compiled.as_text()`."""
    entry, computations = _computations(text)
    unknown: list[str] = []
    return Cost(list(_walk(entry, computations, 1, unknown)), len(unknown))


def _computations(text: str) -> tuple[str, dict[str, list[re.Match]]]:
    """The name of the program's main part, and the instructions of every part."""
    entry, parts, current = "", {}, None
    for line in text.splitlines():
        if found := _COMPUTATION.match(line):
            current = parts.setdefault(found[2], [])
            entry = found[2] if found[1] else entry
        elif current is not None and (found := _INSTRUCTION.match(line)):
            current.append(found)
    return entry, parts


def _walk(name: str, parts: dict, times: int, unknown: list[str]) -> Iterator[Instruction]:
    """The instructions of a part and of what it calls; those inside of fusions are not apart."""
    shapes = {found[2]: found[3] for found in parts.get(name, ())}
    for found in parts.get(name, ()):
        _, own, shape, kind, rest = found.groups()
        rounds = times
        if kind == "while":
            count = _rounds(rest, parts)
            if count is None:
                unknown.append(own)
            rounds *= count or 1
        if kind in ("while", "call", "conditional", "async-start"):
            for called in _called(rest):
                yield from _walk(called, parts, rounds, unknown)
        if kind == "fusion":
            inner = [line for called in _called(rest) for line in parts.get(called, ())]
            for _, inner_name, inner_shape, inner_kind, inner_rest in map(re.Match.groups, inner):
                if inner_kind in _COLLECTIVES:  # joined with the arithmetic that uses it
                    place = _place(inner_rest)
                    yield Instruction(
                        inner_name, inner_kind, inner_shape, *place, 0, times, 0, inner_rest
                    )
        cycles = re.search(r'"estimated_cycles":"(\d+)"', rest)
        layer, backward = _place(rest)
        number = int(cycles[1]) if cycles else 0
        unbounded = number >= _UNBOUNDED
        number = 0 if unbounded else number
        traffic = 0
        if kind.endswith("-start"):  # what it reads stands in its result, beside what it writes
            traffic = stored_bytes(shape)
        elif kind not in _FREE and not kind.endswith("-done"):
            operands = re.findall(r"%([\w.-]+)", rest.partition("),")[0])
            traffic = stored_bytes(" ".join([shape, *(shapes.get(name, "") for name in operands)]))
        yield Instruction(
            own, kind, shape, layer, backward, number, times, traffic, rest, unbounded
        )


def stored_bytes(shapes: str) -> int:
    """Bytes of arrays in the chip's memory, with their tiles' padding; `S(1)` is elsewhere."""
    total = 0
    for dtype, dims, layout in re.findall(r"(\w+)\[([\d,]*)\](?:\{([^}]*)\})?", shapes):
        if "S(" in layout or dtype == "token":
            continue
        sizes = [int(size) for size in dims.split(",") if size]
        order, _, rest = layout.partition(":")
        order = [int(axis) for axis in order.split(",") if axis]
        tile = re.match(r"T\(([\d,]+)\)", rest)
        for axis, least in zip(order, reversed(tile[1].split(",")) if tile else (), strict=False):
            sizes[axis] = -(-sizes[axis] // int(least)) * int(least)
        total += math.prod(sizes) * _width(dtype)
    return total


def _width(dtype: str) -> int:
    """Bytes of an element: f32, s8, bf16, f8e4m3fn; those of less than a byte take one."""
    if dtype in _WIDTHS:
        return _WIDTHS[dtype]
    bits = re.match(r"[suf](\d+)", dtype)
    return max(1, int(bits[1]) // 8) if bits else 0


def _called(rest: str) -> list[str]:
    """Names of the parts that a loop, a branch or a call runs; of a loop without its condition."""
    one = re.findall(
        r"(?:body|to_apply|calls|true_computation|false_computation)=%?([\w.-]+)", rest
    )
    several = re.search(r"branch_computations=\{([^}]*)\}", rest)
    return one + (re.findall(r"%?([\w.-]+)", several[1]) if several else [])


def _rounds(rest: str, parts: dict) -> int | None:
    """How often a loop runs: what the compiler knows, or the constant that its counter is below."""
    if known := re.search(r'"known_trip_count":\{"n":"(\d+)"', rest):
        return int(known[1])
    condition = re.search(r"condition=%?([\w.-]+)", rest)
    lines = parts.get(condition[1], []) if condition else []
    if not lines or not lines[-1][1] or "direction=LT" not in lines[-1][5]:
        return None
    constants = {line[2]: line[5] for line in lines if line[4] == "constant"}
    last = re.findall(r"%([\w.-]+)", lines[-1][5].partition(")")[0])[-1]
    value = re.match(r"(\d+)\)", constants.get(last, ""))
    return int(value[1]) if value else None


def _results(one: Instruction) -> str:
    """The shapes of a collective's results; one that is only started has its operands first."""
    shapes = re.findall(r"\w+\[[\d,]*\]", one.shape)
    if one.kind == "all-gather-start":
        shapes = shapes[len(shapes) // 2 :]
    elif one.kind == "collective-permute-start":
        shapes = shapes[1:2]
    return " ".join(shapes)


def _place(rest: str) -> tuple[str, bool]:
    """The layer in the metadata's `op_name`, and whether it belongs to a gradient."""
    found = re.search(r'op_name="([^"]*)"', rest)
    name = found[1] if found else ""
    words = [re.sub(r"^(?:\w+\()+|\)+$", "", word) for word in name.split("/")]
    layers = [word for word in words if _LAYER.match(word)]
    return "/".join(layers[:3]), "transpose(" in name
