"""Runs and studies in a bucket: what they find is what a folder of the disk would hold.

The bucket is `tests/bucket.py`; gcsfs, tensorstore and Google's own client are the real ones.
"""

import contextlib
import io
import json
import os
import pathlib
import subprocess
import sys

import numpy as np
import pytest
from etils import epath
from safetensors.numpy import load_file

from dermjax import stores
from dermjax.cli import audit as audit_command
from dermjax.cli import task
from dermjax.configs import moco_cifar10
from dermjax.configs import probe as probe_file
from dermjax.configs import saliency as saliency_file
from dermjax.configs import study as study_file
from dermjax.experiment import dataset, export
from dermjax.runs import files as run_files
from dermjax.runs import lock
from dermjax.training.writer import Writer
from tests.data.cifar10_files import write_cifar10
from tests.experiment.clinic import tiny_config

pytestmark = pytest.mark.slow

REPOSITORY = pathlib.Path(__file__).resolve().parents[2]
BUCKET = "clinics-bucket"
DATA, RUN = f"gs://{BUCKET}/clinic/photos.csv", f"gs://{BUCKET}/runs/ss"
TIMED = ("seconds", "images_per_second", "seconds_waiting_for_data", "monitor_seconds")


def killed_at(store, part):
    """The run in a process of its own that dies before an object with this name is written."""
    script = (
        "from dermjax.cli import task; from tests.experiment.clinic import tiny_config; "
        f"task.start(tiny_config('SS', {DATA!r}), {RUN!r})"
    )
    process = subprocess.Popen([sys.executable, "-c", script], cwd=REPOSITORY, env=os.environ)
    store.on_write = lambda name: process.kill() if part in name else None
    try:
        assert process.wait(200) == -9  # a run that has come to its end would give 0
    finally:
        store.on_write = lambda name: None


@pytest.fixture(scope="module")
def there(store, base):
    """`base`, and its SS run in a bucket: killed in the middle of a checkpoint, then continued.

    Returns what the last process said.
    """
    store.objects[BUCKET] = {}
    for path in base.glob("photos*/**/*.png"):
        store.put(BUCKET, f"clinic/{path.relative_to(base)}", path.read_bytes())
    store.put(BUCKET, "clinic/photos.csv", (base / "photos.csv").read_bytes())
    killed_at(store, "/finetune/4/")
    with contextlib.redirect_stdout(io.StringIO()) as said:
        assert task.start(tiny_config("SS", DATA), RUN) == 0
    return said.getvalue()


def files(store, inside):
    """The files under a folder of the bucket, by the rest of their names."""
    found = store.read(BUCKET).items()
    return {name.removeprefix(inside): data for name, data in found if name.startswith(inside)}


def lines(content):
    return [
        {key: value for key, value in json.loads(line).items() if key not in TIMED}
        for line in content.decode().splitlines()
    ]


def test_killed_and_continued_there_is_as_left_alone_here(store, base, there):
    assert "pretrain: done before" in there and "finetune: continues at step 2" in there
    here, found = base / "runs" / "ss", files(store, "runs/ss/")
    for name in ("predictions.csv", "validation_predictions.csv", "splits.csv", "weights.json"):
        assert found[name] == (here / name).read_bytes(), name
    both = [
        json.loads(text) for text in (found["results.json"], (here / "results.json").read_text())
    ]
    for results in both:
        del results["seconds"], results["pretraining"]
    assert both[0] == both[1]
    assert lines(found["metrics.jsonl"]) == lines((here / "metrics.jsonl").read_bytes())
    left = {name for name in found if not name.startswith("checkpoints/")}
    assert left == {path.name for path in here.iterdir()} - {"checkpoints"}  # no `.part`


def test_checkpoints_are_there_and_nothing_is_here(store, there):
    kept = {name.split("/")[2] for name in files(store, "runs/ss/") if "finetune" in name}
    assert {"4", "6"} <= kept
    assert not list(REPOSITORY.glob("gs:*"))  # what a relative path would have made


def test_a_finished_run_is_found(there, capsys):
    assert task.start(tiny_config("SS", DATA), RUN) == 0
    assert "this run is done" in capsys.readouterr().out
    with pytest.raises(ValueError, match="seed: 0 there, 5 here"):
        task.start(tiny_config("SS", DATA, seed=5), RUN)


def test_what_comes_after_a_run_works_there_too(store, base, there, tmp_path):
    config = probe_file.get_config(f"run={RUN}")
    config.encoder = "pretrain"  # found without the link that a disk has
    assert task.start(config) == 0
    assert any(name.startswith("probe-pretrain-alpha0.5") for name in files(store, "runs/ss/"))
    config = saliency_file.get_config(f"run={RUN}")
    config.update(dict(method="grad_cam", compare=(), scores=False, per_class=1))
    assert task.start(config) == 0
    maps = files(store, "runs/ss/saliency/")
    assert "saliency.html" in maps and "sheet.pdf" in maps
    heat = next(data for name, data in maps.items() if name.endswith("/grad_cam.npy"))
    assert np.load(io.BytesIO(heat)).ndim == 2
    for stage in ("pretrain", "finetune"):
        networks = []
        for number, folder in enumerate((str(base / "runs/ss"), RUN)):
            file = tmp_path / f"{stage}-{number}.safetensors"
            export.export(folder, str(file), stage)
            networks.append(load_file(file))
        assert networks[0].keys() == networks[1].keys()
        for name, values in networks[0].items():
            np.testing.assert_allclose(networks[1][name], values, rtol=1e-4, atol=1e-5)
    with pytest.raises(ValueError, match="name a file of this disk"):
        export.export(RUN, f"gs://{BUCKET}/x.safetensors", "finetune")


def test_a_study_with_its_logs_and_report(store, there, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    config = study_file.get_config(f"scale=demo,data={DATA},alphas=0.5,trials=1,strategies=FS")
    config.run = tiny_config("SS", DATA)
    config.report.resamples = 100
    name = "study/logs/fs-alpha0.5-trial0.log"
    store.put(BUCKET, name, b"of a machine that is gone\n")
    assert task.start(config, f"gs://{BUCKET}/study") == 0
    assert "all 1 runs are done" in capsys.readouterr().out
    found = files(store, "")
    assert found[name].startswith(b"of a machine that is gone\n$ python -m dermjax.main ")
    assert b"finetune 6/6" in found[name]
    assert found[name] == (tmp_path / "logs/fs-alpha0.5-trial0.log").read_bytes()
    assert b"<html" in found["study/report.html"]
    figures = [name for name in found if name.startswith("study/figures/")]
    assert figures and not [name for name in figures if name.endswith(".part")]


def test_a_file_is_whole_or_not_there(store, bucket):
    path = epath.Path(f"gs://{bucket}/features.npz")
    path.write_bytes(b"older")
    with pytest.raises(RuntimeError), run_files.whole_file(path) as file:
        file.write(b"half of")
        raise RuntimeError("killed")
    assert path.read_bytes() == b"older"
    run_files.write_text(path, "母斑")
    assert store.read(bucket) == {"features.npz": "母斑".encode()}


def test_what_another_machine_writes_is_seen(store, bucket):
    """A study asks for results that its runs write."""
    folder = stores.folder(f"gs://{bucket}/run")
    (folder / "config.json").write_text("{}")
    assert [path.name for path in folder.iterdir()] == ["config.json"]
    store.put(bucket, "run/results.json", b"{}")
    assert (folder / "results.json").exists() and len(list(folder.iterdir())) == 2


def test_an_audit_of_a_bucket_into_a_bucket(store, there, capsys):
    assert audit_command.main([f"data={DATA}", f"--out=gs://{BUCKET}/audit"]) == 0
    assert f"gs://{BUCKET}/audit/audit.html and audit.json" in capsys.readouterr().out
    found = files(store, "audit/")
    assert json.loads(found["audit.json"])["source"] == DATA and b"<html" in found["audit.html"]


def test_cifar10_in_a_bucket(store, bucket, base, tmp_path):
    write_cifar10(tmp_path, train_per_file=12)
    for path in tmp_path.rglob("*"):
        if path.is_file():
            store.put(bucket, f"cifar/{path.relative_to(tmp_path)}", path.read_bytes())
    configs = [moco_cifar10.get_config(f"data={at}") for at in (tmp_path, f"gs://{bucket}/cifar")]
    here, there = (dataset.prepare(config, Writer()) for config in configs)
    assert there.fingerprint == here.fingerprint


def test_nobody_is_locked_out(bucket):
    folder = f"gs://{bucket}/run"
    with lock.exclusive(folder, Writer(), wait=False):
        assert not lock.is_taken(folder)
        with lock.exclusive(folder, Writer(), wait=False):
            pass


def test_what_cannot_work_is_refused_at_once(store, base):
    config = tiny_config("FS", base / "photos.csv")
    with pytest.raises(ValueError, match="gs://none-such is no bucket that can be seen"):
        task.start(config, "gs://none-such/runs/a")
    assert "none-such" not in store.objects  # nor was it made
    config.data.cache_dir = f"gs://{BUCKET}/cache"
    with pytest.raises(ValueError, match="cache folder gs://.*: name one of a disk"):
        task.start(config, f"gs://{BUCKET}/runs/b")


@pytest.mark.parametrize("part", ["/metrics.jsonl", "/finetune/4/"])
def test_a_bucket_that_is_taken_away_is_one_line_at_once(store, there, part):
    """Orbax's threads would keep the process for ten minutes."""
    command = [
        *(sys.executable, "-m", "dermjax.main", f"--workdir=gs://{BUCKET}/taken{part}"),
        f"--config=configs/fs.py:alpha=0.5,scale=demo,data={DATA},model=efficientnet_tiny",
        *("--config.data.max_side=32", "--config.data.workers=1"),
        *("--config.finetune.image_size=16", "--config.finetune.batch_size=8"),
        *("--config.finetune.warmup_steps=1", "--config.finetune.steps=6"),
        *("--config.finetune.report_every=2", "--config.finetune.evaluate_every=2"),
    ]
    store.on_write = lambda name: store.denied.add(BUCKET) if part in name else None
    try:
        done = subprocess.run(
            command, cwd=REPOSITORY, env=os.environ, capture_output=True, text=True, timeout=200
        )
    finally:
        store.on_write = lambda name: None
        store.denied.discard(BUCKET)
    assert done.returncode == 2, done.stdout + done.stderr
    (line,) = done.stderr.splitlines()
    assert line.startswith("dermjax: the bucket cannot be used: the same command continues")
