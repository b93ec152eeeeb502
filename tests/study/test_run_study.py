"""A study on a miniature clinic: runs are shared, continued, counted; one that fails stops none."""

import json
import subprocess
import sys
import time

import pytest
from etils import epath
from ml_collections import ConfigDict

from dermjax.cli import task
from dermjax.configs import study as config_file
from dermjax.study import plan, run_study
from dermjax.study.settings import StudySettings
from tests.experiment.clinic import cache_in, tiny_config, write_clinic
from tests.study.made_up import write_study

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def clinic(tmp_path_factory):
    folder = tmp_path_factory.mktemp("study")
    manifest = write_clinic(folder)
    with cache_in(folder):
        yield folder, manifest


def config_of(manifest, argument="alphas=0.5+1.0,trials=1,strategies=SS+FS", **fields):
    config = config_file.get_config(f"scale=demo,data={manifest},{argument}")
    config.run = tiny_config("SS", manifest)
    config.update(fields)
    return config


def test_the_flags_of_a_run_are_that_run(clinic, tmp_path):
    """Parsed as absl does, in a process of its own."""
    _, manifest = clinic
    config = config_of(manifest, "strategies=SS+SS-IN+IN+FS,alphas=0.3,trials=2")
    config.run.init.weights = "some where/w.npz"
    config.run.finetune.augment.crop_scale = (0.25, 1.0)
    config.run.data.allow = ("patient:a b",)
    config.ss_in.pretrain.augment.crop_scale = (0.5, 1.0)
    script = (
        "import sys; from absl import flags; from ml_collections import config_flags; "
        "c = config_flags.DEFINE_config_file('config'); "
        "w = flags.DEFINE_string('workdir', '', ''); "
        "from dermjax.cli import command_line; command_line.parse(['x', *sys.argv[1:]]); "
        "print(c.value.to_json(sort_keys=True)); print(w.value)"
    )
    for run in plan.plan(StudySettings.from_config(config), epath.Path(tmp_path))[4:]:
        told = subprocess.run(
            [sys.executable, "-c", script, *run.flags()], capture_output=True, text=True, check=True
        ).stdout.splitlines()
        assert json.loads(told[0]) == json.loads(json.dumps(run.settings.to_dict()))
        assert told[1] == str(tmp_path / "runs" / run.name)
        assert run.settings.data.trial == 1 and run.settings.data.alpha == 0.3
        assert (run.settings.pretrain is not None) == (run.strategy in ("SS", "SS-IN"))
        assert bool(run.settings.init.weights) == (run.strategy in ("SS-IN", "IN"))


def test_options_for_rare_classes_are_further_strategies(clinic, tmp_path):
    _, manifest = clinic
    config = config_of(manifest, "strategies=FS+FS-logit+FS-balanced,alphas=0.5,trials=1")
    plain, logit, balanced = plan.plan(StudySettings.from_config(config), epath.Path(tmp_path))
    assert logit.name == "fs-logit-alpha0.5-trial0" and logit.settings.strategy == "FS"
    assert (
        logit.settings.finetune.logit_adjustment == 1
        and not plain.settings.finetune.logit_adjustment
    )
    assert "--config.finetune.sampling=balanced" in balanced.flags()
    StudySettings.from_config(config)
    with pytest.raises(
        ValueError, match="each SS or SS-IN or IN or FS, each of these also with -bal"
    ):
        StudySettings.from_config(config_of(manifest, "strategies=FS-nothing,alphas=0.5"))


def test_a_study_runs_reuses_and_grows(clinic, capsys):
    folder, manifest = clinic
    config = config_of(manifest, "alphas=0.5,trials=1,strategies=SS+FS")
    assert task.start(config, str(folder / "one")) == 0
    told = capsys.readouterr().out
    assert "[1 of 2] SS alpha 0.5 trial 0" in told and "all 2 runs are done" in told
    assert (folder / "one" / "report.html").is_file()
    names = sorted(path.name for path in (folder / "one" / "runs").iterdir())
    assert [name for name in names if not name.startswith("pretrain")] == [
        "fs-alpha0.5-trial0",
        "ss-alpha0.5-trial0",
    ]
    runs = folder / "one" / "runs"
    before = (runs / "ss-alpha0.5-trial0" / "results.json").stat().st_mtime_ns
    config.alphas, config.only = (0.5, 1.0), 2  # SS, alpha 1
    assert task.start(config, str(folder / "one")) == 0
    assert (runs / "ss-alpha1-trial0" / "results.json").is_file()
    assert (runs / "ss-alpha0.5-trial0" / "results.json").stat().st_mtime_ns == before
    assert len([path for path in runs.iterdir() if path.name.startswith("pretrain")]) == 1
    other = config_of(manifest)
    other.run.finetune.steps = 8
    with pytest.raises(ValueError, match="run.finetune.steps: 6 there, 8 here"):
        task.start(other, str(folder / "one"))


def test_a_dry_run_lists_and_does_nothing(clinic, capsys):
    folder, manifest = clinic
    assert task.start(config_of(manifest, dry_run=True), str(folder / "dry")) == 0
    told = capsys.readouterr().out.splitlines()
    assert len(told) == 5 and told[0].split()[:2] == ["0", "missing"]
    assert "--config=configs/ss.py:scale=demo," in told[0]
    assert told[4].startswith("4 of 4 runs are missing")
    assert not (folder / "dry").exists()


def test_one_missing_run_is_told_as_one(tmp_path):
    _, runs = write_study(tmp_path, argument="strategies=FS,alphas=1.0,trials=2", images=30)
    (runs[1].folder.path / "results.json").unlink()
    assert run_study._left(runs) == "1 of 2 runs is missing, about 1 min, pretraining apart"


def test_a_run_that_fails_stops_no_other(clinic, capsys):
    folder, manifest = clinic
    config = config_of(manifest, "strategies=IN+FS,alphas=0.5,trials=1")
    config.run.init.weights = str(folder / "none.npz")
    (folder / "none.npz").write_bytes(b"no weights")
    assert task.start(config, str(folder / "failing")) == 1
    told = capsys.readouterr().out
    assert "failed: " in told and "none.npz" in told
    assert (folder / "failing" / "runs" / "fs-alpha0.5-trial0" / "results.json").is_file()


def test_logs_are_files_on_a_disk(tmp_path):
    """Also where the study's folder is an object store's: `/gs/bucket` is nobody's to make."""
    assert run_study.log_file(epath.Path(tmp_path), "ss") == tmp_path / "logs" / "ss.log"
    assert str(run_study.log_file(epath.Path("gs://bucket/study"), "ss")) == "logs/ss.log"


def test_two_processes_share_a_study(clinic, tmp_path):
    folder, manifest = clinic
    flags = [
        f"--config=configs/study.py:scale=demo,data={manifest},strategies=FS,alphas=1.0,trials=2",
        f"--workdir={folder / 'shared'}",
        *MODEL,
        "--config.run.data.max_side=32",
        *(f"--config.run.finetune.{name}={value}" for name, value in FINETUNE.items()),
    ]
    command = [sys.executable, "-m", "dermjax.main", *flags]
    both = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for _ in range(2)]
    told = [process.communicate()[0] for process in both]
    assert [process.returncode for process in both] == [0, 0]
    done = [line for text in told for line in text.splitlines() if "s: accuracy" in line]
    assert len(done) == 2  # each run by one of them
    assert all(sum("s: accuracy" in line for line in text.splitlines()) for text in told)


# As `tiny_config` has it, so that the programs are compiled for other tests, too.
FINETUNE = {
    "steps": 6,
    "batch_size": 16,
    "image_size": 16,
    "learning_rate": 1e-3,
    "warmup_steps": 1,
    "report_every": 2,
    "evaluate_every": 2,
}
MODEL = (
    *("--config.run.model.name=efficientnet_tiny", "--config.run.model.drop_rate=0.2"),
    *("--config.run.model.drop_path_rate=0.1", "--config.run.evaluate.batch_size=16"),
)
LONG = FINETUNE | {"steps": 3000, "report_every": 10, "evaluate_every": 10}


def test_a_study_that_is_stopped_goes_on(clinic):
    folder, manifest = clinic
    flags = [
        f"--config=configs/study.py:scale=demo,data={manifest},strategies=FS,alphas=1.0,trials=1",
        f"--workdir={folder / 'stopped'}",
        *MODEL,
        "--config.run.data.max_side=32",
        *(f"--config.run.finetune.{n}={v}" for n, v in LONG.items()),
    ]
    command = [sys.executable, "-m", "dermjax.main", *flags]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    metrics = folder / "stopped" / "runs" / "fs-alpha1-trial0" / "metrics.jsonl"
    deadline = time.monotonic() + 120
    while not metrics.exists() and time.monotonic() < deadline:
        time.sleep(0.1)
    process.terminate()
    told, _ = process.communicate()
    assert process.returncode == 0 and "the same command continues the study" in told
    assert not (metrics.parent / "results.json").exists()
    assert any((metrics.parent / "checkpoints" / "finetune").iterdir())


@pytest.mark.parametrize(
    "fields, message",
    [
        (
            {"strategies": ("SS", "XX")},
            "config.strategies = .* must be different ones, each SS or SS-IN",
        ),
        ({"alphas": (0.5, 0.5)}, "config.alphas = .* different ones, each above 0"),
        ({"alphas": (0.0,)}, "config.alphas"),
        ({"trials": 0}, "config.trials = 0, but it must be at least 1"),
        ({"only": 4}, "config.only = 4, but it must be at least -1 and at most 3"),
        (
            {"report": ConfigDict({"resamples": 5})},
            "config.report.resamples = 5, but it must be at least",
        ),
        ({"run": ConfigDict({"finetune": {"steps": 0}})}, "config.finetune.steps = 0"),
    ],
)
def test_bad_values_stop_before_anything_is_made(clinic, fields, message):
    folder, manifest = clinic
    with pytest.raises(ValueError, match=message):
        task.start(config_of(manifest, **fields), str(folder / "bad"))
    assert not (folder / "bad").exists()


def test_a_study_does_not_go_on_with_other_data(clinic):
    """Known before anything is trained that could not be compared."""
    folder, manifest = clinic
    config = config_of(manifest, "alphas=0.5,trials=1,strategies=SS+FS")
    directory = epath.Path(folder / "other")
    done = plan.plan(StudySettings.from_config(config), directory)[0]
    done.folder.path.mkdir(parents=True)
    results = {"data_fingerprint": "others", "seconds": {"finetune": 1.0}}
    (done.folder.path / "results.json").write_text(json.dumps(results))
    with pytest.raises(ValueError, match=f"not those that this study began with .of {done.name}"):
        task.start(config, str(directory))
