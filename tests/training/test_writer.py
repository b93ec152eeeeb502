"""metrics.jsonl survives a death in the middle of a line, and goes back with the checkpoint."""

import io

from etils import epath

from dermjax.training.writer import MetricsFile, Writer


def test_rewind_drops_what_came_after_the_checkpoint(tmp_path):
    file = MetricsFile(tmp_path / "metrics.jsonl")
    for step in (10, 20, 30):
        file.append("pretrain", step, {"loss": 1 / step})
    file.append("finetune", 10, {"loss": 0.5})
    file.rewind("pretrain", 20)
    assert [(x["stage"], x["step"]) for x in file.read()] == [
        ("pretrain", 10),
        ("pretrain", 20),
        ("finetune", 10),
    ]


def test_a_line_cut_off_by_a_death_is_dropped(tmp_path):
    path = tmp_path / "metrics.jsonl"
    file = MetricsFile(path)
    file.append("pretrain", 10, {"loss": 0.25})
    with path.open("a") as raw:
        raw.write('{"stage": "pretrain", "st')
    file.rewind("pretrain", 10)
    file.append("pretrain", 20, {"loss": 0.125})
    assert [x["loss"] for x in file.read()] == [0.25, 0.125]
    assert path.read_text().count("\n") == 2


def test_progress_without_a_terminal_is_plain_lines(capsys, monkeypatch):
    clock = iter(range(0, 1000, 4))
    monkeypatch.setattr("dermjax.training.writer.time.monotonic", lambda: float(next(clock)))
    monkeypatch.setattr("sys.stderr", io.StringIO())
    assert list(Writer().track(range(6), 6, "preparing")) == list(range(6))
    out = capsys.readouterr().out
    assert "preparing 6/6" in out and "left" in out and "\r" not in out
    assert " s each" in out and "0.0/s" not in out  # slow work has a pace that tells something


def test_an_inactive_writer_is_silent(capsys, tmp_path):
    writer = Writer(active=False)
    writer.say("hello")
    assert list(writer.track([1, 2], 2, "x")) == [1, 2]
    MetricsFile(tmp_path / "m", active=False).append("s", 1, {})
    assert not (tmp_path / "m").exists()
    captured = capsys.readouterr()
    assert captured.out == captured.err == ""


def test_in_a_bucket_lines_are_appended_and_rewound_too(bucket):
    """gcsfs opens for appending by overwriting."""
    path = epath.Path(f"gs://{bucket}/run/metrics.jsonl")
    for steps in ((10, 20), (30, 40)):  # each in a process of its own
        file = MetricsFile(path)
        file.rewind("pretrain", 20)
        for step in steps:
            file.append("pretrain", step, {"loss": 1 / step})
    assert [line["step"] for line in MetricsFile(path).read()] == [10, 20, 30, 40]
    file = MetricsFile(path)
    file.rewind("pretrain", 20)
    file.append("finetune", 10, {"loss": 0.5})
    file.append("finetune", 20, {"loss": 0.4})
    file.rewind("finetune", 10)
    file.append("finetune", 20, {"loss": 0.25})
    assert [line["step"] for line in MetricsFile(path).read()] == [10, 20, 10, 20]
    assert file.read()[-1]["loss"] == 0.25
    assert [found.name for found in path.parent.iterdir()] == ["metrics.jsonl"]
