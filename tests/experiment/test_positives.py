"""Pretraining with positives of the same lesion or patient, from the table to the records."""

import json
import os
import pathlib
import signal
import subprocess
import sys
import time

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from dermjax.cli import task
from dermjax.experiment import dataset as prepare
from dermjax.experiment import knn_monitor, pretrain
from dermjax.experiment.context import RunContext
from dermjax.settings import RunSettings
from dermjax.training.writer import Writer
from tests.experiment.clinic import TINY_FIELDS, cache_in, tiny_config
from tests.experiment.ends import read_state

REPOSITORY = pathlib.Path(__file__).resolve().parents[2]
STEPS = 40
CLOCKED = {"images_per_second", "seconds_waiting_for_data", "seconds", "monitor_seconds"}


def write_table(folder, *, lesions=True):
    """24 patients: each with a lesion of two photographs on the arm and one of one on the back."""
    rng, rows = np.random.default_rng(0), []
    (folder / "photos").mkdir(parents=True, exist_ok=True)
    for patient in range(24):
        label = ("acne", "eczema", "rosacea")[patient % 3]
        for number, (lesion, site) in enumerate([("a", "arm"), ("a", "arm"), ("b", "back")]):
            pixels = rng.integers(0, 256, (40, 48, 3), np.uint8)
            name = f"photos/{patient}-{number}.png"
            Image.fromarray(pixels).save(folder / name)
            row = {"image": name, "label": label, "patient": f"p{patient}", "site": site}
            rows.append(row | {"lesion": f"{patient}{lesion}"} if lesions else row)
    path = folder / ("photos.csv" if lesions else "without.csv")
    pd.DataFrame(rows).to_csv(path, index=False)
    return path


@pytest.fixture(scope="module")
def clinic(tmp_path_factory):
    folder = tmp_path_factory.mktemp("lesions")
    with cache_in(folder):
        write_table(folder)
        write_table(folder, lesions=False)
        yield folder


def config_of(clinic, table="photos.csv", **fields):
    return tiny_config("SS", clinic / table, task="pretrain", **fields)


def read_lines(folder):
    return [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["lesion", "patient"])
def test_who_has_a_partner_is_said_recorded_and_on_the_page(clinic, capsys, kind):
    folder = clinic / "runs" / kind
    config = config_of(clinic, pretrain__positives=kind)
    assert task.start(config, str(folder)) == 0
    results = json.loads((folder / "results.json").read_text())
    images = results["n"]["train"]
    paired = images * 2 // 3  # the third is the only one of its lesion and of its site
    assert results["positives"] == {"kind": kind, "images": images, "with_partner": paired}
    said = f"positives of {paired} of {images} training images come from another photograph"
    assert f"pretrain: {said} of the same {kind}" in capsys.readouterr().out
    page = (folder / "pretraining.html").read_text()
    assert f"from another photograph of the same {kind}: of {paired} images" in page
    for line in read_lines(folder):
        assert 0.3 < line["partner_share"] < 1
        assert line["same_subject_share"] >= line["same_image_share"]


def test_positives_of_the_image_are_told_nowhere(clinic, capsys):
    folder = clinic / "runs" / "image"
    assert task.start(config_of(clinic), str(folder)) == 0
    assert "positives" not in json.loads((folder / "results.json").read_text())
    assert "another photograph" not in capsys.readouterr().out
    assert "another photograph" not in (folder / "pretraining.html").read_text()
    for line in read_lines(folder):
        assert "partner_share" not in line and "same_subject_share" not in line


def test_pairs_tell_pretrainings_apart_and_nothing_else_does(clinic):
    """Other lesion ids of the same patients leave the data's fingerprint as it is."""
    table = pd.read_csv(clinic / "photos.csv")
    other = table.assign(lesion=table["lesion"].str.replace("5b", "5a"))
    other.to_csv(clinic / "other.csv", index=False)
    found = {}
    for name in ("photos.csv", "other.csv"):
        for kind in ("image", "lesion", "patient"):
            config = config_of(clinic, name, pretrain__positives=kind)
            dataset = prepare.prepare(RunSettings.from_config(config), Writer(active=False))
            settings = RunSettings.from_config(config)
            pairs = pretrain.find_partners(settings, dataset)
            start = type("Start", (), {"record": lambda self: {"source": "", "sha256": ""}})()
            run = RunContext(settings, dataset, None, start, None, None)
            found[name, kind] = pretrain._identity(run, pairs)
    one, two = found["photos.csv", "image"], found["other.csv", "image"]
    assert one == two and "partners" not in one and "positives" not in one["pretrain"]
    texts = {json.dumps(identity, sort_keys=True) for identity in found.values()}
    assert len(texts) == 5
    assert found["photos.csv", "lesion"]["data_fingerprint"] == one["data_fingerprint"]


@pytest.mark.parametrize(
    ("columns", "kind", "message"),
    [
        (["patient"], "lesion", "needs at least 2 of the .* images to have a lesion, and 0 have"),
        (["lesion"], "patient", "to have a patient.*or --config.pretrain.positives=lesion"),
        (["image"], "patient", "another photograph of the same patient, and 0 of .* have one"),
    ],
)
def test_data_without_pairs_claim_no_folder(clinic, columns, kind, message):
    table = pd.read_csv(clinic / "photos.csv")
    if columns == ["image"]:
        table, columns = table.assign(patient=table["image"]).drop(columns="lesion"), ["patient"]
    table[["image", "label", *columns]].to_csv(clinic / "few.csv", index=False)
    folder = clinic / "runs" / "never"
    with pytest.raises(ValueError, match=message) as error:
        task.start(config_of(clinic, "few.csv", pretrain__positives=kind), str(folder))
    assert "\n" not in str(error.value) and not folder.exists()


def test_a_queue_longer_than_the_data_needs_no_other_mask(clinic):
    """The keys of the own image are left out with those of its lesion."""
    for kind, warned in (("image", True), ("lesion", False)):
        config = config_of(clinic, pretrain__positives=kind, pretrain__mask_same_image=False)
        dataset = prepare.prepare(RunSettings.from_config(config), Writer(active=False))
        assert (
            "queue"
            in knn_monitor.diagnose(RunSettings.from_config(config).pretraining, dataset, 80, {})
        ) == warned


def start(clinic, name):
    """A pretraining as a process of its own on one device."""
    fields = TINY_FIELDS | {
        "task": "pretrain",
        "pretrain.positives": "patient",
        "pretrain.steps": STEPS,
        "pretrain.report_every": 2,
        "pretrain.save_every": 4,
        "pretrain.directory": clinic / name,
    }
    environment = os.environ | {"JAX_PLATFORMS": "cpu", "JAX_NUM_CPU_DEVICES": "1"}
    with (clinic / f"{name}.log").open("a") as log:
        return subprocess.Popen(
            [
                *(sys.executable, "-m", "dermjax.main", f"--workdir={clinic / name}-run"),
                f"--config=configs/ss.py:alpha=0.5,scale=demo,data={clinic / 'photos.csv'}",
                *(f"--config.{field}={value}" for field, value in fields.items()),
            ],
            cwd=REPOSITORY,
            env=environment,
            stdout=log,
            stderr=subprocess.STDOUT,
        )


def saved(folder):
    """The steps of whole checkpoints."""
    return [int(path.name) for path in folder.glob("checkpoints/pretrain/*") if path.name.isdigit()]


@pytest.mark.slow
def test_a_killed_pretraining_ends_as_one_left_alone(clinic):
    """kill -9 in the middle; then the last state and every metric, bit for bit."""
    quiet = start(clinic, "quiet")
    assert quiet.wait(timeout=400) == 0, (clinic / "quiet.log").read_text()
    killed, deadline = start(clinic, "killed"), time.monotonic() + 400
    while not saved(clinic / "killed") and time.monotonic() < deadline:
        assert killed.poll() is None, (clinic / "killed.log").read_text()
        time.sleep(0.01)
    killed.send_signal(signal.SIGKILL)
    killed.wait()
    assert max(saved(clinic / "killed")) < STEPS
    assert start(clinic, "killed").wait(timeout=400) == 0, (clinic / "killed.log").read_text()
    assert "pretrain: continues at step" in (clinic / "killed.log").read_text()

    states, lines = [], []
    for name in ("quiet", "killed"):
        folder = clinic / name
        assert max(saved(folder)) == STEPS
        states.append(read_state(folder / "checkpoints" / "pretrain" / str(STEPS) / "state"))
        told = read_lines(folder)
        lines.append([{k: v for k, v in line.items() if k not in CLOCKED} for line in told])
    assert lines[0] == lines[1] and len(lines[0]) == STEPS // 2
    assert states[0].keys() == states[1].keys() and len(states[0]) > 50
    for leaf, value in states[0].items():
        np.testing.assert_array_equal(states[1][leaf], value, err_msg=leaf)
