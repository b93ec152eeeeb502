"""The script for TPU VMs against a stand-in of gcloud, whose VMs are folders (`cloud.py`)."""

import os
import pathlib
import shlex
import shutil
import signal
import subprocess
import sys
import time

import pytest

from tests.launch.cloud import Cloud

pytestmark = pytest.mark.slow

LAUNCH = pathlib.Path(__file__).resolve().parents[2] / "launch"
NAMES = {
    "TPU_NAME": "vm",
    "TPU_ZONE": "zone-b",
    "TPU_TYPE": "v4-8",
    "TPU_VERSION": "base",
    "PROJECT": "clinic",
}
COMMAND = ["python", "-m", "dermjax.main", "--config=configs/ss.py", "--workdir=gs://bucket/run"]
DELETION = "queued-resources delete vm --force --zone=zone-b --project=clinic --quiet"
# Of a study, as `--config.dry_run` has it; `@` stands for the flag by which pretrainings differ.
LISTED = """#!/bin/sh
i=0; for c in RUNS; do
  flag=; case $c in *@*) flag=" --config.pretrain.repeat=${c#*@}";; esac
  printf '%3d missing    --config=configs/%s.py:alpha=1 --workdir=x%s\\n' $i ${c%@*} "$flag"
  i=$((i+1))
done
echo "$i of $i runs are missing; what they cost is known when one is done"
"""


@pytest.fixture
def cloud(tmp_path):
    found = Cloud(tmp_path / "cloud")
    yield found
    if (found.folder / "busy").exists():
        found.busy(False)  # ends what a failed test has left


@pytest.fixture
def launch(cloud, tmp_path):
    """Starts the script and returns its process, whose stderr goes to stdout."""
    copy = tmp_path / "checkout"  # the script writes its archive into its own checkout
    copy.mkdir()
    shutil.copytree(LAUNCH, copy / "launch")
    for name in ("LICENSE", "README.md", "pyproject.toml", "setup.py"):
        (copy / name).touch()
    for name in ("configs", "dermjax", "clinic"):
        (copy / name).mkdir()
        (copy / name / "a.py").touch()

    def start(*arguments, **environment):
        clean = {k: v for k, v in os.environ.items() if k != "PROJECT" and k[:4] != "TPU_"}
        path = f"{cloud.folder / 'bin'}{os.pathsep}{os.environ['PATH']}"
        own = {"PATH": path, "CLOUD": str(cloud.folder), "TPU_POLL": "0.02"}
        return subprocess.Popen(
            [copy / "launch" / "tpu_vm.sh", *arguments],
            env=clean | own | NAMES | environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            cwd=tmp_path,
            start_new_session=True,
        )

    return start


@pytest.fixture
def call(launch):
    """Returns exit status and output."""

    def run(*arguments, **environment):
        process = launch(*arguments, **environment)
        output, _ = process.communicate(timeout=60)
        return process.returncode, output

    return run


def wait_for(condition):
    deadline = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def test_run_does_all_in_order_and_deletes(call, cloud):
    cloud.plan(states=["WAITING_FOR_RESOURCES", "PROVISIONING", "ACTIVE"])
    status, output = call("run", "--spot", *COMMAND)
    assert status == 0, output
    assert cloud.steps == ["create", "scp", "install", "start", "follow", "delete"]
    assert "--spot" in cloud.calls[1] and "trains" in output.splitlines()
    assert cloud.vms == [] and "deletes it" not in output
    installed = (cloud.folder / "installed").read_text()
    assert ".[tpu]" in installed and "--python >=3.11" in installed


def test_only_the_package_is_copied(call, cloud):
    """Photographs that lie in the checkout stay there."""
    call("run", "--keep", *COMMAND)
    copied = {path.name for path in (cloud.folder / "vm/vm/dermjax-source").iterdir()}
    assert {"setup.py", "configs", "dermjax"} <= copied and "clinic" not in copied


def test_arguments_arrive_unchanged(call, cloud):
    odd = ["a b", "it's", 'say "no"', "$HOME `id` *", "a\nb", "ä;&|<>\\", ""]
    status, output = call("run", *COMMAND, *odd)
    assert status == 0, output
    assert [arguments for _, arguments, _ in cloud.ran] == [[*COMMAND[1:], *odd]]


def test_data_and_another_package(call, cloud):
    call("run", "--data=gs://b/my clinic", "--pip=dermjax[tpu] @ git+x", *COMMAND)
    assert "dermjax[tpu] @ git+x" in (cloud.folder / "installed").read_text()
    (rsync,) = [call for call in cloud.calls if call[1] == "storage"]
    assert rsync[4] == "gs://b/my clinic" and rsync[5].endswith("/dermjax-run/my clinic")


ONE = ["create", "scp", "install", "start", "follow", "delete"]


def test_a_preempted_vm_is_created_anew_and_continues(call, cloud):
    """The command that the shutdown ends has saved and exited with 0: that is not its end."""
    cloud.plan(preempt=True)
    status, output = call("run", *COMMAND)
    assert status == 0, output
    assert "vm: SUSPENDED; once more" in output
    assert cloud.steps == ONE * 2
    assert [arguments for _, arguments, _ in cloud.ran] == [COMMAND[1:]] * 2
    assert len(cloud.ended) == 1 and cloud.vms == []


def test_restarts_come_to_an_end(call, cloud):
    cloud.plan(states=["FAILED"])
    status, output = call("run", "--restarts=2", *COMMAND)
    assert status == 2 and "no restarts are left, take more: --restarts=100" in output
    assert cloud.steps == ["create", "delete", "create", "delete", "create"]
    assert DELETION in output


def test_a_rebooted_vm_starts_the_command_again(call, cloud):
    cloud.plan(reboot=True)
    status, output = call("run", *COMMAND)
    assert status == 0 and "the command is gone, the VM is not; once more" in output
    assert cloud.steps.count("create") == 1 and cloud.steps.count("start") == 2


def test_a_lost_connection_ends_nothing(call, cloud):
    cloud.plan(hang_up=True)
    status, _ = call("run", *COMMAND)
    assert status == 0 and len(cloud.ran) == 1 and cloud.steps.count("create") == 1


def test_workers_of_a_slice_start_together_and_again_when_one_is_lost(call, cloud):
    (cloud.folder / "lost").touch()
    status, output = call("run", "--type=v4-16", *COMMAND)
    assert status == 0 and "a worker was lost (status 75); once more" in output
    assert [arguments for _, arguments, _ in cloud.ran] == [COMMAND[1:], COMMAND[1:]]
    starts = [c for c in cloud.calls if any(" start " in word for word in c)]
    assert len(starts) == 2 and all("--worker=all" in call for call in starts)
    assert cloud.vms == []


def test_a_command_that_fails_is_told_and_the_vm_deleted(call, cloud):
    (cloud.folder / "fails").write_text("--workdir=gs://bucket/run")
    status, output = call("run", *COMMAND)
    assert status == 7 and "the command has ended with status 7" in output
    assert cloud.steps[-1] == "delete" and cloud.vms == []


def test_what_is_kept_is_named(call, cloud):
    status, output = call("run", "--keep", *COMMAND)
    assert status == 0 and cloud.vms == ["vm"]
    assert "vm is up in zone-b" in output and DELETION in output


def test_a_creation_that_fails_is_told(call, cloud):
    cloud.plan(fail=True)
    status, output = call("run", *COMMAND)
    assert status == 1 and cloud.steps == ["create"]
    assert "RESOURCE_EXHAUSTED" in output and DELETION in output


def test_without_access_nothing_is_created(call, cloud):
    cloud.plan(denied=True)
    status, output = call("run", *COMMAND)
    assert status == 2 and "PERMISSION_DENIED" in output and cloud.steps == []


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_names_what_is_up_and_the_same_command_finds_it(launch, call, cloud, number):
    cloud.busy(True)
    process = launch("run", *COMMAND)
    wait_for(lambda: cloud.steps[-1:] == ["follow"] and cloud.ran)
    os.killpg(process.pid, number)
    output, _ = process.communicate(timeout=10)
    assert process.returncode == 128 + number and DELETION in output
    assert cloud.vms == ["vm"]

    status, output = call("start", "python", "another")
    assert status == 3 and "another command is running: python -m dermjax.main" in output
    process = launch("run", *COMMAND)
    wait_for(lambda: cloud.steps.count("follow") == 2)
    cloud.busy(False)
    output, _ = process.communicate(timeout=20)
    assert process.returncode == 0 and len(cloud.ran) == len(cloud.ended) == 1
    assert cloud.steps.count("install") == 1 and cloud.vms == []


def test_stop_lets_it_save_and_ends_run(launch, call, cloud):
    cloud.busy(True)
    process = launch("run", *COMMAND)
    wait_for(lambda: cloud.steps[-1:] == ["follow"] and cloud.ran)
    assert call("stop")[0] == 0
    output, _ = process.communicate(timeout=20)
    assert process.returncode == 143 and "saved" in output and cloud.steps.count("start") == 1


def test_a_vm_deleted_from_elsewhere_is_not_created_again(launch, call, cloud):
    cloud.plan(states=["WAITING_FOR_RESOURCES"])
    process = launch("run", *COMMAND)
    wait_for(lambda: len(cloud.calls) > 3)
    assert call("delete")[0] == 0
    output, _ = process.communicate(timeout=20)
    assert process.returncode == 2 and cloud.steps == ["create", "delete"]
    assert output == "tpu_vm.sh: vm was deleted from elsewhere; the same command begins anew\n"


def test_dry_run_prints_the_very_commands_and_calls_none(call, cloud, tmp_path):
    status, output = call("run", "--dry-run", *COMMAND, "a b'c")
    assert status == 0 and cloud.calls == [] and not (tmp_path / "checkout/dist").exists()
    printed = [shlex.split(line) for line in output.splitlines()]
    tar = [words for words in printed if words[0] == "tar"]
    assert len(tar) == 1
    call("run", *COMMAND, "a b'c")
    assert [words for words in printed if words not in tar] == cloud.calls


def test_steps_one_by_one(call, cloud, tmp_path):
    """On demand; every step says what is up."""
    for step in (
        ["create"],
        ["install"],
        ["start", "python", "-m", "dermjax.main", "--workdir=mine"],
        ["follow"],
        ["status"],
        ["fetch", "log", "fetched"],
        ["delete"],
    ):
        status, output = call(step[0], "--on-demand", *step[1:])
        assert status == 0, output
        assert ("tpu-vm delete vm" in output) == (step[0] != "delete")
        if step[0] == "status":
            assert "vm: READY" in output and "command: ended 0" in output
    assert (tmp_path / "fetched").read_text() == "trains\n"
    assert {call[3] for call in cloud.calls} == {"tpu-vm"} and cloud.vms == []


def test_a_folder_on_the_vm_is_fetched_before_it_is_deleted(call, cloud, tmp_path):
    status, output = call("run", "--dry-run", "python", "-m", "x", "--workdir=runs/mine")
    lines = output.splitlines()
    assert lines[0] == (
        "tpu_vm.sh: warning: runs/mine is lost with a preempted VM; gs://... is not"
    )
    assert "scp --recurse vm:dermjax-run/runs/mine ." in lines[-2] and "delete" in lines[-1]


def write_listing(folder, runs):
    (folder / "listing").write_text(LISTED.replace("RUNS", runs))
    (folder / "listing").chmod(0o755)
    return str(folder / "listing")


@pytest.fixture
def listing(tmp_path):
    return write_listing(tmp_path, "ss in fs ss in fs")


def test_a_study_does_each_run_once_and_pretrains_once(call, cloud):
    """With the study's own list of its runs."""
    arguments = "data=a b.csv,alphas=0.1+0.5+1.0,trials=1"
    flags = [f"--config=configs/study.py:{arguments}", "--config.run.seed=1"]
    status, output = call(
        "study", "--vms=2", arguments, "gs://b/study", flags[1], PYTHON=sys.executable
    )
    assert status == 0, output
    *runs, report = cloud.ran
    assert report[1] == ["-m", "dermjax.main", *flags, "--workdir=gs://b/study"]
    assert all(run[1][:-1] == report[1] for run in runs)
    assert sorted(run[1][-1] for run in runs) == [f"--config.only={i}" for i in range(9)]
    pretrained = next(end for _, words, end in cloud.ended if words[-1] == "--config.only=0")
    ss = {"--config.only=3", "--config.only=6"}
    assert all(start >= pretrained for _, words, start in runs if words[-1] in ss)
    assert {vm for vm, *_ in runs} == {"vm-1", "vm-2"} and cloud.vms == []


def test_a_study_on_one_vm_pretrains_first(call, cloud, listing):
    status, output = call("study", "data=a.csv", "gs://b/study", PYTHON=listing)
    assert status == 0, output
    numbers = [words[-1] for _, words, _ in cloud.ran[:-1]]
    assert numbers == [f"--config.only={i}" for i in (0, 3, 1, 2, 4, 5)]


def test_without_the_pretraining_no_other_ss_run_begins(call, cloud, listing):
    (cloud.folder / "fails").write_text("--config.only=0")
    status, output = call("study", "--vms=2", "data=a.csv", "gs://b/study", PYTHON=listing)
    assert status == 2 and "run 0, which pretrains for others, has failed" in output
    assert {run[1][-1] for run in cloud.ran} == {f"--config.only={i}" for i in (0, 1, 2, 4, 5)}


@pytest.mark.parametrize(
    ("runs", "vms", "firsts"),
    [
        ("ss ss_in in fs ss ss_in in fs", 4, (0, 1)),
        ("ss ss_in in fs ss ss_in in fs", 2, (0, 1)),
        ("ss ss_in ss ss_in ss@1 ss_in@1 ss@1 ss_in@1", 3, (0, 1, 4, 5)),
    ],
)
def test_each_pretraining_is_done_by_one_vm_before_the_runs_that_share_it(
    call, cloud, tmp_path, runs, vms, firsts
):
    """Of SS and of SS-IN one each, or one for each trial."""
    listing = write_listing(tmp_path, runs)
    status, output = call("study", f"--vms={vms}", "data=a.csv", "gs://b/study", PYTHON=listing)
    assert status == 0, output
    names = runs.split()
    begun = {int(words[-1].split("=")[1]): start for _, words, start in cloud.ran[:-1]}
    ended = {int(words[-1].split("=")[1]): end for _, words, end in cloud.ended[:-1]}
    assert sorted(begun) == list(range(len(names)))
    pretrained = {names[number]: ended[number] for number in firsts}
    for number, name in enumerate(names):
        if number not in firsts:
            assert begun[number] >= pretrained.get(name, 0), name


def test_ctrl_c_in_a_study_names_every_vm(launch, cloud, listing):
    cloud.busy(True)
    process = launch("study", "--vms=2", "data=a.csv", "gs://b/study", PYTHON=listing)
    wait_for(lambda: len(cloud.ran) == 2 and cloud.steps.count("follow") == 2)
    os.killpg(process.pid, signal.SIGINT)
    output, _ = process.communicate(timeout=20)
    assert process.returncode == 130 and cloud.vms == ["vm-1", "vm-2"]
    for vm in cloud.vms:
        assert DELETION.replace(" vm ", f" {vm} ") in output.partition("tpu_vm.sh: vm-1 is up")[2]


@pytest.mark.parametrize("name", NAMES)
def test_a_missing_name_is_refused(call, cloud, name):
    status, output = call("run", *COMMAND, **{name: ""})
    option = "--" + name.removeprefix("TPU_").lower()
    assert status == 2 and cloud.calls == []
    assert output == f"tpu_vm.sh: {option} is missing; add {option}=... or set {name}\n"


@pytest.mark.parametrize(
    "arguments, told",
    [
        (
            ["run", "--type=v4-16", "python", "--workdir=here"],
            "--workdir = here must be gs://..., which all workers of v4-16 share",
        ),
        (["study", "--type=v4-16", "data=x", "gs://b/s"], "must be at most 8, which is one worker"),
        (["run", "python", "-m", "dermjax.main"], "add --workdir=gs://BUCKET/RUN"),
        (["run"], "run of what?"),
        (["run", "--spott", *COMMAND], "--spott is not understood"),
        (["begin"], "begin is not understood"),
        (["study", "--vms=0", "data=a.csv", "gs://b/study"], "--vms = 0 must be at least 1"),
        (["study", "data=a.csv", "study"], "FOLDER = 'study' must be gs://..."),
    ],
)
def test_mistakes_are_told_in_one_line(call, cloud, arguments, told):
    status, output = call(*arguments)
    assert status == 2 and told in output and len(output.splitlines()) == 1
    assert cloud.calls == []


def test_help_is_the_head_of_the_script(call):
    status, output = call("--help")
    assert status == 0 and output.startswith("dermjax on Cloud TPU VMs") and "--dry-run" in output


@pytest.mark.skipif(shutil.which("shellcheck") is None, reason="shellcheck is not installed")
def test_shellcheck_finds_nothing():
    subprocess.run(["shellcheck", *LAUNCH.glob("*.sh")], check=True)
