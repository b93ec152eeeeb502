"""How a process finds out whether it is one of several, and who the others are."""

import pytest

from dermjax.training import cluster, processes

STEP = {  # of `srun --nodes=2 --ntasks-per-node=4`, as SLURM sets it for one task
    "SLURM_JOB_ID": "4711",
    "SLURM_STEP_ID": "0",
    "SLURM_STEP_NODELIST": "gpu[003-004]",
    "SLURM_STEP_NUM_TASKS": "8",
    "SLURM_STEP_TASKS_PER_NODE": "4(x2)",
    "SLURM_PROCID": "6",
    "SLURM_LOCALID": "2",
    "CUDA_VISIBLE_DEVICES": "0,1,2,3",
}


def test_a_process_without_others_is_alone():
    assert cluster.arguments("auto", {}) is None
    assert cluster.arguments("off", STEP) is None
    assert cluster.arguments("off", {cluster.LOCAL: "127.0.0.1:5000,2,0"}) is None
    # An array's task, and a batch script that has not called srun, are alone in their step.
    assert cluster.arguments("auto", STEP | {"SLURM_STEP_NUM_TASKS": "1"}) is None
    assert cluster.arguments("auto", {"SLURM_JOB_ID": "1", "SLURM_NTASKS": "8"}) is None


def test_the_others_are_named_by_hand_or_by_the_launcher():
    wanted = {
        "coordinator_address": "10.0.0.1:8476",
        "num_processes": 4,
        "process_id": 3,
        "local_device_ids": None,
        "cluster_detection_method": "deactivate",
    }
    assert cluster.arguments("10.0.0.1:8476,4,3", {}) == wanted
    assert cluster.arguments("auto", {cluster.LOCAL: "10.0.0.1:8476,4,3"}) == wanted


@pytest.mark.parametrize(
    "text",
    ["on", "10.0.0.1,4,0", "10.0.0.1:8476", "10.0.0.1:8476,4,4", "a:1,2,-1", "a:1,2,0,0", ""],
)
def test_a_setting_that_is_not_understood_is_told_with_the_right_form(text):
    with pytest.raises(ValueError, match="HOST:PORT,COUNT,INDEX"):
        cluster.arguments(text, {})


@pytest.mark.parametrize(
    "nodes, host",
    [
        ("gpu3", "gpu3"),
        ("gpu3,cpu1", "gpu3"),
        ("gpu[003-004]", "gpu003"),
        ("gpu[003,007-009],cpu1", "gpu003"),
        ("node-a[12],b", "node-a12"),
    ],
)
def test_the_first_node_of_a_slurm_step_is_where_process_0_listens(nodes, host):
    found = cluster.arguments("auto", STEP | {"SLURM_STEP_NODELIST": nodes})
    name, port = found["coordinator_address"].split(":")
    assert name == host and 49_152 <= int(port) < 65_536
    assert (found["num_processes"], found["process_id"]) == (8, 6)


def test_steps_of_a_node_listen_at_ports_of_their_own():
    ports = {
        cluster.arguments("auto", STEP | {"SLURM_JOB_ID": job, "SLURM_STEP_ID": step})[
            "coordinator_address"
        ]
        for job in ("4711", "4712")
        for step in ("0", "1")
    }
    assert len(ports) == 4


@pytest.mark.parametrize(
    "per_node, visible, own",
    [
        ("4(x2)", "0,1,2,3", [2]),  # a task for each GPU, and every task sees all of them
        ("4(x2)", "2", None),  # SLURM has given each task its own
        ("1(x2)", "0,1,2,3", None),  # a task for each node has all of its GPUs
        ("4(x2)", "", None),  # no GPUs
    ],
)
def test_gpus_of_a_slurm_task(per_node, visible, own):
    environment = STEP | {"SLURM_STEP_TASKS_PER_NODE": per_node, "CUDA_VISIBLE_DEVICES": visible}
    assert cluster.arguments("auto", environment)["local_device_ids"] == own


def test_on_a_cloud_tpu_vm_jax_finds_the_other_workers():
    assert cluster.arguments("auto", {"TPU_ML_PLATFORM": "JAX"}) == {}
    without_chips = {"TPU_ML_PLATFORM": "JAX", "TPU_SKIP_MDS_QUERY": "1"}
    assert cluster.arguments("auto", without_chips) is None


def test_work_of_one_process_is_refused_to_several(monkeypatch):
    processes.check_alone("a study")
    monkeypatch.setenv(cluster.LOCAL, "127.0.0.1:5000,2,0")
    with pytest.raises(ValueError, match="a study is work of one process, and 2 were started"):
        processes.check_alone("a study")
    processes.check_alone("a study", "off")


def test_who_is_alone_agrees_with_itself():
    done = []
    processes.first_does(lambda: done.append(1))
    processes.check_same("anything", "a config")
    assert (
        done == [1] and processes.is_first() and processes.named() == processes.of_how_many() == ""
    )
    assert processes.first_says(True) and not processes.first_says(False)
    assert processes.all_true(True) and not processes.all_true(False)
    vote = processes.Vote(lambda: bool(done.pop()) if done else False)
    assert vote() and not vote()
    with pytest.raises(OSError, match="full"):
        processes.first_does(lambda: (_ for _ in ()).throw(OSError("full")))
