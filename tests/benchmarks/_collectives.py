"""The collectives of a program: how many bytes each hands over, and what that is on a network.

Read from the program as it is lowered (StableHLO, before any compiler has seen it), and from the
text of the compiled one (HLO), which should hold the same bytes in fewer, larger operations.
"""

import dataclasses
import math
import re
from collections.abc import Iterator

import numpy as np

KINDS = (
    *("all_gather", "all_reduce", "all_to_all", "collective_broadcast", "collective_permute"),
    *("ragged_all_to_all", "reduce_scatter"),
)
# Of the body of shard_map it is known that it runs once; of other regions (loops, branches) not.
_ONCE = "sdy.manual_computation"
_SHAPE = re.compile(r"\b(pred|bf16|c64|c128|[suf]\d+)(?:e\w+)?\[([\d,]*)\]")


@dataclasses.dataclass(frozen=True)
class Collective:
    """One collective, as one of its devices sees it."""

    kind: str  # one of KINDS
    dtype: str  # as MLIR names it: f32, ui8, i32
    operand: int  # bytes that this device puts in
    result: int  # bytes that it gets out
    devices: int  # that take part together
    name: str  # where it stands in the network, `encoder/blocks_0_0/bn1/all_gather`

    @property
    def network_bytes(self) -> float:
        """Bytes this device sends (and receives) at least, on a ring (Thakur et al. 2005).

        Raises:
          ValueError: a kind whose bytes depend on what is sent.
        """
        others = (self.devices - 1) / self.devices
        factors = {
            "all_gather": others * self.result,
            "all_reduce": 2 * others * self.operand,  # a reduce-scatter, then an all-gather
            "reduce_scatter": others * self.operand,
            "all_to_all": others * self.operand,
            "collective_permute": self.operand,
            "collective_broadcast": others and self.operand,
        }
        if self.kind not in factors:
            raise ValueError(f"the bytes of {self.kind} depend on the data; count them by hand")
        return factors[self.kind]


def of_lowered(lowered) -> list[Collective]:
    """Those of one call of `jax.jit(...).lower(...)`, in their order; functions at every call.

    Raises:
      ValueError: one in a loop or a branch, of which it is not known how often it runs.
    """
    module = lowered.compiler_ir("stablehlo").operation
    functions = {
        op.attributes["sym_name"].value: op
        for op in _inside(module)
        if op.operation.name == "func.func"
    }
    return list(_walk(functions["main"], functions, known=True))


def of_compiled(text: str) -> list[Collective]:
    """Those of `compiled.as_text()`; several buffers in one operation count as one.

    Raises:
      ValueError: one outside of the program's main part, or asynchronous ones, as accelerators
        have them.
    """
    found, entry = [], False
    pattern = re.compile(rf"= (.*?) ({'|'.join(k.replace('_', '-') for k in KINDS)})(-start)?\(")
    for line in text.splitlines():
        if not line.startswith(" "):
            entry = line.startswith("ENTRY") or (entry and not line.startswith("}"))
        elif match := pattern.search(line):
            if not entry or match[3]:
                raise ValueError(f"only synchronous collectives of the main part are read: {line}")
            found.append(of_line(line, match[1], match[2].replace("-", "_")))
    return found


def _inside(op) -> Iterator:
    """The operations of an operation's regions."""
    for region in op.operation.regions:
        for block in region:
            yield from block.operations


def _walk(op, functions, known) -> Iterator[Collective]:
    """The collectives of an operation; `known` is whether it runs once."""
    for inner in _inside(op):
        name = inner.operation.name
        if name.removeprefix("stablehlo.") in KINDS:
            if not known:
                raise ValueError(f"how often this runs is not known: {str(inner.location)[:200]}")
            yield from _lowered(inner)
        elif name in ("func.call", "call"):
            yield from _walk(functions[inner.attributes["callee"].value], functions, known)
        else:
            yield from _walk(inner, functions, known and name == _ONCE)


def _lowered(op) -> Iterator[Collective]:
    """One for each of the operands."""
    kind = op.operation.name.removeprefix("stablehlo.")
    if kind == "collective_permute":
        devices = len(np.array(op.attributes["source_target_pairs"]))
    else:
        devices = np.array(op.attributes["replica_groups"]).shape[1]
    where = re.match(r'loc\("([^"]*)"', str(op.location))
    for operand, result in zip(op.operands, op.results, strict=True):
        dtype = str(operand.type.element_type)
        yield Collective(
            kind, dtype, _size(operand.type), _size(result.type), devices, where[1] if where else ""
        )


def _size(kind) -> int:
    """Bytes of a ranked tensor."""
    return math.prod(kind.shape) * max(1, kind.element_type.width // 8)


def of_line(line: str, shapes: str, kind: str) -> Collective:
    """That of one line of HLO, from the shapes of the result, which tell the operands'."""
    parts = _SHAPE.findall(shapes)
    result = sum(
        math.prod(int(n) for n in dims.split(",") if n) * max(1, _bits(dtype) // 8)
        for dtype, dims in parts
    )
    devices = _group_size(line)
    operand = {"all_gather": result // devices, "reduce_scatter": result * devices}
    dtype = re.sub(r"^s(?=\d)", "i", re.sub(r"^u(?=\d)", "ui", parts[0][0]))
    where = re.search(r'op_name="([^"]*)"', line)
    return Collective(
        kind, dtype, operand.get(kind, result), result, devices, where[1] if where else ""
    )


def _group_size(line: str) -> int:
    """Devices of a group, written `{{0,1},{2,3}}` or `[groups,size]<=[...]`."""
    if match := re.search(r"replica_groups=\{\{([\d,]+)\}", line):
        return match[1].count(",") + 1
    if match := re.search(r"replica_groups=\[\d+,(\d+)\]<=", line):
        return int(match[1])
    if match := re.search(r"source_target_pairs=\{(.*?)\}\}", line):
        return match[1].count("{")
    raise ValueError(f"no groups of devices in {line[:300]}")


def _bits(dtype: str) -> int:
    return 8 if dtype == "pred" else int(re.search(r"\d+", dtype)[0])
