"""The search for recipes: its rungs, its file, and what it does not do again."""

import json

import pytest
import recipes

from tests.experiment.clinic import write_clinic

pytestmark = pytest.mark.slow


@pytest.fixture
def search(tmp_path, monkeypatch):
    """Starts the search in miniature; returns the rows of its file."""
    monkeypatch.setenv("DERMJAX_CACHE", str(tmp_path / "cache"))
    manifest = write_clinic(tmp_path)
    monkeypatch.setattr(
        recipes,
        "SETTINGS",
        {"base": {}, "no flip": {"augment.flip_horizontal": 0.0}},
    )
    base = {"batch_size": 16, "hidden_dim": 16, "warmup_steps": 1}
    monkeypatch.setattr(
        "sys.argv",
        [
            *("recipes.py", f"--data={manifest}", f"--folder={tmp_path / 'search'}"),
            *("--model=efficientnet_tiny", "--size=16", f"--base={json.dumps(base)}"),
            *("--pairs=320", "--growth=2", "--rungs=2"),
        ],
    )

    def start():
        recipes.main()
        return [json.loads(line) for line in (tmp_path / "search/rows.jsonl").open()]

    return start


def test_the_better_half_goes_on_and_nothing_is_done_twice(search, monkeypatch, capsys):
    rows = search()
    assert [(row["pairs"], row["steps"]) for row in rows] == [(320, 20), (320, 20), (640, 40)]
    first = max(rows[:2], key=lambda row: row["score"])
    assert rows[2]["setting"] == first["setting"]
    for row in rows:
        mean = (row["knn"] + row["probe_tenth"] + row["probe_all"]) / 3
        assert row["score"] == pytest.approx(mean, abs=1e-3)
    monkeypatch.setattr(recipes, "run", lambda *_: pytest.fail("done before"))
    assert search() == rows
    assert "rung 2: 640 pairs" in capsys.readouterr().out
