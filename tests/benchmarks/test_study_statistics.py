"""The statistics benchmark end to end, as a user runs it, on a tiny study."""

import json
import os
import pathlib
import subprocess
import sys

import pytest

pytestmark = pytest.mark.slow

SCRIPT = pathlib.Path(__file__).with_name("study_statistics.py")


def test_a_quick_run_measures_everything(tmp_path):
    path = tmp_path / "rows.json"
    command = [sys.executable, str(SCRIPT), "--quick", "--jobs=1", f"--out={path}"]
    # Threads that wait for each other on a busy machine would take most of the time.
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    done = subprocess.run(command, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    rows = {row["id"]: row for row in json.loads(path.read_text())["rows"]}
    assert not [row for row in rows.values() if row["status"] != "ok"]
    for kind in ("networks", "strategy", "classes of 5 patients or more"):
        assert any(name.startswith("coverage/") and name.endswith(kind) for name in rows)
    assert any(name.startswith("equal/") for name in rows)
    for part in ("runs", "comparisons", "subgroups"):
        assert rows[f"intervals/{part}"]["value"] > 0
    assert rows["run/calibration"]["value"] > 0 and rows["run/discrimination"]["value"] > 0
    assert rows["tsne/openTSNE again"]["same"] and not rows["tsne/scikit-learn"]["same"]
    assert rows["tsne/features"]["hint"] in " ".join(done.stdout.split())
