"""What the README shows works when it is pasted."""

import json
import os
import pathlib
import re
import shlex
import shutil
import subprocess
import sys

import pytest
import safetensors.numpy

from dermjax.models import timm
from tests.experiment.clinic import write_clinic
from tests.models.test_timm import random_variables

REPOSITORY = pathlib.Path(__file__).resolve().parents[1]
README = REPOSITORY / "README.md"
# Commands with their flags as they are typed, every field checked, and nothing trained; each in a
# process of its own, of one that has imported everything.
CHECKED = """
import json, os, sys
from dermjax import main
from dermjax.cli import command_line, task

command_line.restart_with_huge_pages = lambda: None  # it would begin from here again
for loaded in [task._run, *task._TASKS.values()]:
    loaded()
task.start = lambda config, workdir: print("checked", task.settings_of(config).task) or 0
for number, flags in enumerate(json.loads(sys.argv[1])):
    print(f"-- {number}", flush=True)
    if not os.fork():
        os.dup2(1, 2)
        sys.argv = ["dermjax", *flags]
        main.cli()
    os.wait()
"""


def commands():
    """Every line of the README's shell blocks, without comments, continued lines as one."""
    blocks = re.findall(r"```\n(.*?)```", README.read_text(), re.DOTALL)
    lines = "".join(blocks).replace("\\\n", " ").splitlines()
    found = [shlex.split(line, comments=True) for line in lines]
    return [one for line in found for one in _parts(line) if one]


def _parts(words):
    """The commands that `&&` joins."""
    while "&&" in words:
        at = words.index("&&")
        yield words[:at]
        words = words[at + 1 :]
    yield words


def called(words):
    return " ".join(words)[:60]


@pytest.fixture(scope="module")
def folder(base, tmp_path_factory):
    """A folder with what the README's commands name: a clinic's table, data, a finished run."""
    folder = tmp_path_factory.mktemp("readme")
    write_clinic(folder / "clinic")
    write_clinic(folder / "FOLDER")
    table = (folder / "clinic" / "photos.csv").read_text()
    header, first, *rest = table.splitlines()
    row = dict(zip(header.split(","), first.split(","), strict=True))
    (folder / "labels.csv").write_text(f"image,label\n{row['image']},{row['label']}\n")
    blank = first.replace(f",{row['label']},", ",,")
    (folder / "clinic" / "photos.csv").write_text("\n".join([header, blank, *rest, ""]))
    for image in (folder / "FOLDER" / "photos").iterdir():  # a folder per class
        place = folder / "FOLDER" / image.name.partition("-")[0]
        place.mkdir(exist_ok=True)
        image.rename(place / image.name)
    (folder / "FOLDER" / "photos").rmdir()
    (folder / "FOLDER" / "photos.csv").unlink()
    shutil.copytree(base / "runs", folder / "runs", symlinks=True)
    (folder / "runs" / "ss").rename(folder / "runs" / "mine")
    return folder


def run(words, folder):
    environment = os.environ | {"PYTHONPATH": str(REPOSITORY)}
    process = subprocess.run(words, cwd=folder, env=environment, capture_output=True, text=True)
    assert process.returncode == 0, process.stderr
    return process.stdout


TRAININGS = [words for words in commands() if "dermjax.main" in words]


@pytest.fixture(scope="module")
def checked(folder):
    """What each training command says of its settings."""
    flags = [words[words.index("dermjax.main") + 1 :] for words in TRAININGS]
    text = run([sys.executable, "-c", CHECKED, json.dumps(flags)], folder)
    return re.split(r"-- \d+\n", text)[1:]


@pytest.mark.parametrize("number", range(len(TRAININGS)), ids=lambda n: called(TRAININGS[n]))
def test_every_training_command_is_understood(number, checked):
    """Also behind a script that starts processes: its own test has what it starts."""
    assert checked[number].startswith("checked"), checked[number]


OTHERS = {
    "dermjax.data.audit": ["audit/audit.html"],
    "dermjax.data.manifest": ["photos.csv", "clinic/photos2.csv"],
    "dermjax.export": ["exported/card.md", "mine.onnx", "mine.safetensors"],
}


EXPORT = pytest.param("dermjax.export", marks=pytest.mark.slow)


@pytest.mark.parametrize("module", ["dermjax.data.audit", "dermjax.data.manifest", EXPORT])
def test_every_other_command_of_the_package_does_what_is_said(module, folder):
    found = [words for words in commands() if module in words]
    for words, made in zip(found, OTHERS[module], strict=True):
        assert words[:2] == ["python", "-m"]
        run([sys.executable, *words[1:]], folder)
        assert (folder / made).is_file()


def test_every_script_and_benchmark_is_there():
    """Their own tests run them; SLURM and a cloud are not at hand."""
    known = {"pip", "pytest"}
    for words in commands():
        program = words[1] if words[0] == "python" else words[0]
        if program == "-m" or program in known:
            continue
        script = next(word for word in words if "/" in word and not word.startswith("-"))
        assert (REPOSITORY / script).is_file(), script
    assert len(commands()) > 12


@pytest.mark.slow
def test_the_python_section_runs(hub, base, tmp_path, monkeypatch):
    """With the hub's file replaced by one of the same shapes."""
    (tmp_path / "runs").mkdir()
    (tmp_path / "runs" / "mine").symlink_to(base / "runs" / "ss")
    arrays = timm.to_timm(random_variables("efficientnet_b4", 1000))
    content = safetensors.numpy.save(arrays, metadata={"format": "pt"})
    hub.files["timm/efficientnet_b4.ra2_in1k", "model.safetensors"] = content
    monkeypatch.chdir(tmp_path)
    (code,) = re.findall(r"```python\n(.*?)```", README.read_text(), re.DOTALL)
    names = {}
    exec(code, names)
    assert names["images"].shape == (1, 384, 384, 3)
    assert names["logits"].shape == (1, 10)
    assert (tmp_path / "mine.safetensors").stat().st_size > 70e6
    assert names["answer"].predicted in ("acne", "eczema", "rosacea")


def test_every_file_that_the_readme_names_exists():
    named = re.findall(r"\b(?:configs|tests)/[\w/]+\.py\b", README.read_text())
    assert len(named) > 3
    for path in named:
        assert (README.parent / path).is_file(), path
