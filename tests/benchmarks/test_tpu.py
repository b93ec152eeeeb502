"""The compiler's estimates are read as the program has them; a tiny network compiles for a TPU."""

import json
import subprocess
import sys

import _compiled_rows
import _tpu_cost
import _tpu_rows
import pytest
import tpu

# As the compiler of JAX 0.10.2 writes it, shortened: a loop of five rounds, each a copy and a
# depthwise convolution in the cores' own memory, S(1), between a copy and a sum.
PROGRAM = """\
HloModule jit_f, is_scheduled=true

%fused.1 (p.0: bf16[32,64,64,48], p.1: bf16[3,3,1,48]) -> bf16[32,64,64,48] {
  %p.0 = bf16[32,64,64,48]{3,0,2,1:T(8,128)(2,1)S(1)} parameter(0)
  %p.1 = bf16[3,3,1,48]{3,2,1,0:T(2,128)(2,1)S(1)} parameter(1)
  ROOT %conv.4 = bf16[32,64,64,48]{3,0,2,1:T(8,128)(2,1)S(1)} convolution(%p.0, %p.1), window={size=3x3}
}

%body.3 (arg.0: (s32[], bf16[32,64,64,48], bf16[3,3,1,48])) -> (s32[], bf16[32,64,64,48], bf16[3,3,1,48]) {
  %arg.0 = (s32[]{:T(128)}, bf16[32,64,64,48]{3,0,2,1:T(8,128)(2,1)S(1)}, bf16[3,3,1,48]{3,2,1,0:T(2,128)(2,1)S(1)}) parameter(0)
  %x.39 = bf16[32,64,64,48]{3,0,2,1:T(8,128)(2,1)S(1)} get-tuple-element(%arg.0), index=1
  %copy.11 = bf16[32,64,64,48]{3,0,2,1:T(8,128)(2,1)S(1)} copy(%x.39), backend_config={"window_config":{"estimated_cycles":"368960"}}
  %multiply_fusion.2 = bf16[32,64,64,48]{3,0,2,1:T(8,128)(2,1)S(1)} fusion(%copy.11), kind=kOutput, calls=%fused.1, metadata={op_name="jit(f)/transpose(jvp(EfficientNet))/blocks_1_0/conv_dw/conv_general_dilated"}, backend_config={"window_config":{"estimated_cycles":"335708"}}
  ROOT %tuple.12 = (s32[]{:T(128)}, bf16[32,64,64,48]{3,0,2,1:T(8,128)(2,1)S(1)}) tuple(%x.39, %multiply_fusion.2)
}

%condition.4 (arg.3: (s32[], bf16[32,64,64,48])) -> pred[] {
  %constant.13 = s32[]{:T(128)} constant(5)
  %arg.3 = (s32[]{:T(128)}, bf16[32,64,64,48]{3,0,2,1:T(8,128)(2,1)S(1)}) parameter(0)
  %counter.18 = s32[]{:T(128)} get-tuple-element(%arg.3), index=0
  ROOT %lt.0 = pred[]{:T(512)} compare(%counter.18, %constant.13), direction=LT
}

ENTRY %main.6 (x.1: bf16[32,64,64,48]) -> f32[32,48] {
  %x.1 = bf16[32,64,64,48]{2,3,1,0:T(8,128)(2,1)} parameter(0)
  %copy = bf16[32,64,64,48]{3,0,2,1:T(8,128)(2,1)S(1)} copy(%x.1), backend_config={"window_config":{"estimated_cycles":"189112"}}
  %tuple.10 = (s32[]{:T(128)}, bf16[32,64,64,48]{3,0,2,1:T(8,128)(2,1)S(1)}) tuple(%copy)
  %while = (s32[]{:T(128)}, bf16[32,64,64,48]{3,0,2,1:T(8,128)(2,1)S(1)}) while(%tuple.10), condition=%condition.4, body=%body.3
  %while.7 = bf16[32,64,64,48]{3,0,2,1:T(8,128)(2,1)S(1)} get-tuple-element(%while), index=1
  %all-gather-start.1 = (f32[2,5]{1,0:T(8,128)}, f32[8,5]{1,0:T(8,128)}) all-gather-start(%x.1), replica_groups=[1,4]<=[4], dimensions={0}
  ROOT %reduce_fusion = f32[32,48]{1,0:T(8,128)} fusion(%while.7), kind=kLoop, metadata={op_name="jit(f)/reduce_sum"}, backend_config={"window_config":{"estimated_cycles":"234512"}}
}
"""  # noqa: E501
LOOP = 368960 + 335708


def test_estimates_are_summed_and_loops_multiplied():
    cost = _tpu_cost.read_cost(PROGRAM)
    assert cost.cycles == 189112 + 5 * LOOP + 234512
    assert cost.unknown_loops == 0
    assert cost.copied == (189112 + 5 * 368960) / cost.cycles
    assert cost.by_kind() == {"copy": 2033912, "fusion": 5 * 335708 + 234512}
    (first, second) = cost.dearest(2)
    assert (first.name, first.total) == ("copy.11", 5 * 368960)
    assert (second.layer, second.backward) == ("blocks_1_0/conv_dw", True)


def test_a_loop_of_unknown_length_counts_as_one_round():
    cost = _tpu_cost.read_cost(PROGRAM.replace("direction=LT", "direction=NE"))
    assert (cost.unknown_loops, cost.cycles) == (1, 189112 + LOOP + 234512)
    known = 'body=%body.3, backend_config={"known_trip_count":{"n":"7"}}'
    cost = _tpu_cost.read_cost(PROGRAM.replace("body=%body.3", known))
    assert cost.cycles == 189112 + 7 * LOOP + 234512


def test_an_instruction_without_an_estimate_is_named_and_not_counted():
    cost = _tpu_cost.read_cost(PROGRAM.replace('"234512"', f'"{2**63 - 1}"'))
    assert cost.cycles == 189112 + 5 * LOOP
    (found,) = _tpu_rows.describe(PROGRAM.replace('"234512"', f'"{2**63 - 1}"'))["unbounded"]
    assert found.startswith("reduce_fusion f32[32,48]")


def test_bytes_are_those_of_whole_tiles_outside_of_the_cores():
    """W = 64 takes 128 lanes in the argument; what the loop works on never leaves the cores."""
    argument = 32 * 64 * 48 * 128 * 2
    gathered, summed = 2 * 8 * 128 * 4, 32 * 128 * 4
    assert _tpu_cost.read_cost(PROGRAM).traffic == argument + gathered + summed
    assert _tpu_cost.stored_bytes("bf16[24,144]{1,0:T(8,128)(2,1)}, pred[]{:T(512)}") == 12289


def test_collectives_are_counted_where_they_are_started():
    (found,) = _tpu_cost.read_cost(PROGRAM).collectives()
    assert (found.kind, found.devices, found.result) == ("all_gather", 4, 8 * 5 * 4)
    assert found.network_bytes == 3 / 4 * 160


def test_names_of_rows():
    for name in ("finetune-v5e-4", "small-pretrain-v4-256-x32-p2", "explain-v6e-1"):
        assert _tpu_rows.parse_row(name).name == name
    names = [row.name for row in _tpu_rows.default_rows()]
    assert len(names) == len(set(names)) and names == [
        _tpu_rows.parse_row(name).name for name in names
    ]
    # 32 images of one batch norm group: one each on 32 chips, none on 256.
    assert "finetune-v5e-32" in names and "finetune-v5e-256" not in names
    with pytest.raises(ValueError, match="'finetune-v5e-5' is no row"):
        _tpu_rows.parse_row("finetune-v5e-5")


def test_clocks_are_those_of_the_peak():
    assert round(_tpu_rows.CHIPS["v5e"].hertz / 1e9, 2) == 1.50
    assert round(_tpu_rows.CHIPS["v4"].hertz / 1e9, 2) == 1.05


def test_rows_that_are_there_are_not_compiled_again(tmp_path, monkeypatch, capsys):
    """Also after a line that was cut off; hours by hand."""
    out, asked = tmp_path / "tpu.jsonl", []

    def compiled(row, machine, script, model, size):
        asked.append(row.name)
        sizes = {"argument": 2**30, "temp": 5 * 2**30, "output": 2**30, "alias": 2**30}
        numbers = {"cycles": 15 * 10**8, "traffic": 10**11, "copied": 0.25, "bytes": sizes}
        lists = {"collectives": {"all_gather": [2, 1e6]}, "dearest": [], "unknown_loops": 0}
        name = {"row": row.name, "model": model, "size": size, "compile_seconds": 60.0}
        return {**name, **numbers, **lists, "batch": 256 if row.kind == "pretrain" else 32}

    monkeypatch.setattr(_compiled_rows, "compiled", compiled)
    monkeypatch.setattr(_tpu_rows, "missing", lambda: "")
    out.write_text('{"row": "finetune-v5e-4", "mod')
    for _ in range(2):
        argv = ["tpu.py", f"--out={out}", "--rows=finetune-v5e-4,pretrain-v5e-8"]
        monkeypatch.setattr(sys, "argv", argv)
        tpu.main()
    assert asked == ["finetune-v5e-4", "pretrain-v5e-8"]
    printed = capsys.readouterr().out
    assert "6.00 of 16 GB" in printed and "about 24 images on a chip" in printed
    second = 1.5e9 / (197e12 / (2 * 65536))
    one, before = 27_000 * second * 4 / 3600, 97_200 * second * 8 / 3600
    assert f"one training {one:10,.1f}" in printed
    assert f"a study of 90 runs {before + 90 * one:10,.1f}" in printed


@pytest.mark.skipif(bool(_tpu_rows.missing()), reason=_tpu_rows.missing())
def test_a_tiny_network_compiles_for_two_machines(tmp_path):
    """As a user runs it: the real compiler, the real step, and what it sends between chips.

    Eight chips are those of two machines, each with a process of its own: a slice v4-16.
    """
    devices = _tpu_rows.slice_of("v4", 8).mesh.devices.flat
    assert {device.process_index for device in devices} == {0, 1}
    out = tmp_path / "tpu.jsonl"
    options = ["--rows=finetune-v4-8", "--model=efficientnet_tiny", "--size=32", f"--out={out}"]
    done = subprocess.run(
        [sys.executable, tpu.__file__, *options], capture_output=True, text=True, timeout=900
    )
    assert done.returncode == 0, done.stderr
    found = json.loads(out.read_text())
    assert "error" not in found and found["cycles"] > 0 and found["traffic"] > 0
    assert found["bytes"]["temp"] > 0 and found["unknown_loops"] == 0
    assert set(found["collectives"]) & {"all_gather", "all_reduce"}
    assert "== finetune-v4-8: 32 images on 8 v4 ==" in done.stdout
