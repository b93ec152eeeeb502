"""A tiny network compiles for GPUs that are not there; names of rows are read strictly."""

import json
import subprocess
import sys

import _gpu_rows
import gpu
import pytest

pytestmark = pytest.mark.slow


@pytest.mark.parametrize("name", ["finetune-h200", "finetune-v5e-4", "finetune-h200-3", "x-h200-1"])
def test_a_row_that_does_not_exist_is_refused_with_those_that_do(name):
    with pytest.raises(ValueError, match="PROGRAM-GPU-COUNT.*a100, h100, h200, and 1, 4, 8"):
        _gpu_rows.parse_row(name)


@pytest.mark.skipif(bool(_gpu_rows.missing()), reason=_gpu_rows.missing() or "there")
@pytest.mark.parametrize("name", ["finetune-h200-1-x8", "pretrain-a100-4-x8"])
def test_a_tiny_network_compiles_for_gpus_that_are_not_there(tmp_path, name):
    out = tmp_path / "gpu.jsonl"
    command = [sys.executable, gpu.__file__, f"--rows={name}", f"--out={out}"]
    command += ["--model=efficientnet_tiny", "--size=32"]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    (row,) = map(json.loads, out.read_text().splitlines())
    assert "error" not in row
    assert 0 < row["bytes"]["temp"] < 1e9 and row["traffic"] > 0 and row["kernels"] > 100
    assert "images/s at the very most" in done.stdout
    again = subprocess.run(command, capture_output=True, text=True)
    assert again.stdout == done.stdout and "compiling" not in again.stderr
