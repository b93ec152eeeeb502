"""Runs and studies in a bucket: what they find is what a folder of the disk would hold.

The bucket is `tests/bucket.py`; gcsfs, tensorstore and Google's client are the real ones. Google's
own service has not been tried.
"""

import json
import os
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
from dermjax.configs import probe as probe_file
from dermjax.configs import saliency as saliency_file
from dermjax.configs import study as config_file

from dermjax.stages import export, probe, run, saliency, study
from tests.stages.clinic import tiny_config, write_clinic
from tests.stages.test_killed import REPOSITORY, command

TIMED = ("seconds", "images_per_second", "seconds_waiting_for_data", "monitor_seconds")


def read(store, bucket, inside):
    """The files under a folder of a bucket, by the rest of their names."""
    inside += "/"
    found = store.read(bucket).items()
    return {name.removeprefix(inside): data for name, data in found if name.startswith(inside)}


def metrics(content):
    lines = map(json.loads, content.decode().splitlines())
    return [{k: v for k, v in line.items() if k not in TIMED} for line in lines]


def results(content):
    found = json.loads(content)
    del found["seconds"], found["pretraining"]
    return found


@pytest.fixture
def clinic(store, bucket, tmp_path):
    """A clinic on the disk and in the bucket, and an environment without a cache in common."""
    folder = tmp_path / "clinic"
    write_clinic(folder)
    for path in folder.rglob("*.*"):
        store.put(bucket, f"clinic/{path.relative_to(folder)}", path.read_bytes())
    return folder


def start(store, source, workdir, cache):
    told = command(REPOSITORY, workdir)
    told[3] = f"--config=configs/ss.py:alpha=0.5,scale=demo,data={source}"
    environment = os.environ | store.environment
    environment |= {"JAX_NUM_CPU_DEVICES": "1", "DERMJAX_CACHE": str(cache)}
    return subprocess.Popen(
        told,
        cwd=cache.parent,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def finish(process):
    out, _ = process.communicate(timeout=300)
    assert process.returncode == 0, out
    return out


def test_killed_and_continued_there_is_as_left_alone_here(store, bucket, clinic, tmp_path):
    finish(start(store, clinic / "photos.csv", tmp_path / "here/run", tmp_path / "cache"))
    there = (store, f"gs://{bucket}/clinic/photos.csv", f"gs://{bucket}/runs/run", tmp_path / "new")
    (tmp_path / "new" / "xla").parent.mkdir()
    (tmp_path / "cache" / "xla").rename(tmp_path / "new" / "xla")  # nothing is compiled again
    process, deadline = start(*there), time.monotonic() + 200
    while process.poll() is None and time.monotonic() < deadline:
        saved = [name for name in store.read(bucket) if name.endswith("/8/commit_success.txt")]
        if saved and "/finetune/" in saved[-1]:
            break
        time.sleep(0.02)
    assert process.poll() is None  # in the middle of fine-tuning
    process.send_signal(signal.SIGKILL)
    process.communicate()
    assert "runs/run/results.json" not in store.read(bucket)
    out = finish(start(*there))
    assert "pretrain: done before" in out and "finetune: continues at step" in out
    found, own = read(store, bucket, "runs/run"), tmp_path / "here" / "run"
    assert results(found["results.json"]) == results((own / "results.json").read_bytes())
    assert metrics(found["metrics.jsonl"]) == metrics((own / "metrics.jsonl").read_bytes())
    same = ("predictions.csv", "splits.csv", "data_fingerprint.txt", "weights.json")
    for name in same:
        assert found[name] == (own / name).read_bytes(), name
    left = {name for name in found if not name.startswith("checkpoints/")}
    assert left == {path.name for path in own.iterdir()} - {"checkpoints"}
    assert not list((tmp_path).rglob("gs:*"))  # no folder of that name on the disk
    assert "this run is done" in finish(start(*there))
