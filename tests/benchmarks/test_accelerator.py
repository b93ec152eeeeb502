"""The accelerator benchmark end to end, as a user runs it, on a toy network."""

import json
import os
import pathlib
import re
import subprocess
import sys

import pytest

pytestmark = pytest.mark.slow

SCRIPT = pathlib.Path(__file__).with_name("accelerator.py")
# Compiling is nearly all of the time, and speed is not what this test looks at.
FLAGS = (
    "--xla_backend_optimization_level=0 --xla_llvm_disable_expensive_passes=true "
    "--xla_cpu_use_fusion_emitters=false"
)


def run(*arguments):
    command = [sys.executable, str(SCRIPT), *arguments]
    for flags in (FLAGS, ""):
        environment = {**os.environ, "JAX_PLATFORMS": "cpu", "XLA_FLAGS": flags}
        done = subprocess.run(command, env=environment, capture_output=True, text=True)
        if "Unknown flag" not in done.stderr:  # XLA drops flags without notice
            break
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def results(tmp_path_factory):
    """The file and the table of one quick run of everything."""
    path = tmp_path_factory.mktemp("benchmark") / "rows.json"
    printed = run("--quick", f"--out={path}")
    return json.loads(path.read_text()), printed[printed.index("\nmeasurement") :]


@pytest.fixture(scope="module")
def unmeasured(tmp_path_factory):
    """The rows of a run whose time was spent before it began."""
    path = tmp_path_factory.mktemp("benchmark") / "rows.json"
    run("--quick", "--budget=0", f"--out={path}")
    return json.loads(path.read_text())["rows"]


def test_every_measurement_has_a_row_in_file_and_table(results, unmeasured):
    content, table = results
    in_file = {row["id"]: row for row in content["rows"]}
    for id in (row["id"] for row in unmeasured):
        rows = [row for name, row in in_file.items() if name.startswith(id)]
        assert rows, id
        for row in rows:
            assert re.search(rf"^{re.escape(row['id'])} .*\d", table, re.MULTILINE) or (
                row["status"] == "skipped"
            )
            assert row["hint"]


def test_nothing_failed(results):
    rows = results[0]["rows"]
    assert not [row["hint"] for row in rows if row["status"] == "failed"]
    lacking = [row["id"] for row in rows if row["status"] == "skipped"]
    assert all(id.startswith("timm/") for id in lacking)  # torch and timm are optional
    assert all(row["value"] > 0 for row in rows if row["status"] == "ok")


def test_steps_report_xlas_account_and_a_loss(results):
    rows = {row["id"].split("/")[0]: row for row in results[0]["rows"] if ":" not in row["id"]}
    for section in ("train", "moco"):
        row = rows[section]
        assert row["gb_per_image"] > 0 and row["gflop_per_image"] > 0 and row["planned_bytes"] > 0
        assert 0 < row["loss"] < 20


def test_depthwise_forms_are_compared_with_the_native_one(results):
    (row,) = [row for row in results[0]["rows"] if row["id"] == "depthwise/float32-sum"]
    assert {"forward native", "d input phased", "d kernel separate"} <= set(row["ms"])
    assert "3 of 3 layers" in row["hint"] and set(row["best"]) == {"forward", "d input", "d kernel"}


def test_a_spent_budget_leaves_rows(unmeasured):
    assert {row["status"] for row in unmeasured} == {"skipped"}
    sections = {row["id"].split("/")[0] for row in unmeasured}
    assert sections == {
        "device",
        "train",
        "moco",
        "timm",
        "depthwise",
        "augment",
        "predict",
        "saliency",
    }
