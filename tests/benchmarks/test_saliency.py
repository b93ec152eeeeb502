"""The benchmark of InputIBA end to end, as a user runs it, on a toy network."""

import json
import os
import pathlib
import subprocess
import sys

import pytest

pytestmark = pytest.mark.slow

SCRIPT = pathlib.Path(__file__).with_name("saliency.py")
# Compiling is nearly all of the time, and speed is not what this test looks at.
FLAGS = "--xla_backend_optimization_level=0 --xla_llvm_disable_expensive_passes=true"


def test_a_quick_run_measures_everything(tmp_path):
    path = tmp_path / "rows.json"
    command = [sys.executable, str(SCRIPT), "--quick", "--threads=1", f"--out={path}"]
    environment = {**os.environ, "JAX_PLATFORMS": "cpu", "XLA_FLAGS": FLAGS}
    done = subprocess.run(command, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    rows = {row["id"]: row for row in json.loads(path.read_text())["rows"]}
    assert not [row["hint"] for row in rows.values() if row["status"] == "failed"]
    lacking = {id for id, row in rows.items() if row["status"] == "skipped"}
    assert lacking <= {"ratio/iba", "ratio/gan"}  # torch and timm are optional
    assert {"ratio/iba", "ratio/gan"} <= rows.keys()
    for prior in ("iba", "gan"):
        assert rows[f"seconds/{prior}-ours"]["value"] > 0
    stages = [f"flop/{stage}" for stage in ("feature", "fakes", "generator", "critic", "input")]
    assert all(rows[id]["reference"] >= rows[id]["value"] > 0 for id in stages)
    assert rows["flop/gan"]["value"] > rows["flop/iba"]["value"]
    for pair in ("priors", "noise"):
        assert -1 <= rows[f"agreement/{pair}-spearman"]["value"] <= 1
        assert -1 <= rows[f"agreement/{pair}-ssim"]["value"] <= 1
    assert rows["agreement/moved"]["value"] > 0
    assert rows["agreement/moved"]["hint"][:40] in done.stdout
