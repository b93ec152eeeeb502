"""The choice of a fine-tuning: what it trains, what it does not do again, what it prints."""

import json

import pytest
import tuning

from dermjax.cli import task
from tests.experiment.clinic import cache_in, tiny_config, write_clinic

pytestmark = pytest.mark.slow

SETTINGS = {
    "plain": {},
    "kept": {"learning_rate": 1e-2, "encoder_rate": 0.1, "sampling": "balanced"},
}


@pytest.fixture(scope="module")
def pretrained(tmp_path_factory):
    """The folder of a pretraining."""
    folder = tmp_path_factory.mktemp("tuning")
    with cache_in(folder):
        pretraining = tiny_config("SS", write_clinic(folder), task="pretrain")
        assert task.start(pretraining, str(folder / "run")) == 0
        yield folder / "run"


@pytest.fixture
def choose(pretrained, tmp_path, monkeypatch, capsys):
    """Starts the choice in miniature; returns the file's rows and what was printed."""
    monkeypatch.setattr(tuning, "SETTINGS", SETTINGS)

    def start(*flags):
        arguments = [f"--run={pretrained}", f"--folder={tmp_path / 'tuning'}"]
        arguments += ["--alphas=1.0", "--steps=4", "--evaluations=2", "--trials=1", *flags]
        monkeypatch.setattr("sys.argv", ["tuning.py", *arguments])
        tuning.main()
        rows = [json.loads(line) for line in (tmp_path / "tuning/rows.jsonl").open()]
        return rows, capsys.readouterr().out

    return start


def test_each_setting_is_scored_on_validation_and_once(choose, monkeypatch):
    rows, _ = choose()
    assert [row["setting"] for row in rows] == ["plain", "kept"]
    for row in rows:
        assert set(row["scores"]) == {"2", "4"} and row["score"] == max(row["scores"].values())
    assert rows[0]["log_losses"] != rows[1]["log_losses"]
    monkeypatch.setattr(tuning, "finetune", lambda *args: pytest.fail("done before"))
    again, said = choose()
    assert again == rows
    lines = [line for line in said.splitlines() if line.startswith("| SS alpha 1")]
    scores = [float(line.split("|")[3]) for line in lines]
    assert len(scores) == 2 and scores == sorted(scores, reverse=True)


def test_random_weights_have_no_rate_of_their_own(choose):
    rows, _ = choose("--strategy=FS")
    assert [(row["strategy"], row["setting"]) for row in rows] == [("FS", "plain")]
