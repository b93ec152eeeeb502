"""Which photographs a pattern names."""

import pytest

from dermjax.data.file_names import matching


@pytest.mark.parametrize("name", ["a [1]", "st*r", "wh?t", "plain"])
def test_photographs_in_a_folder_of_any_name_are_found(tmp_path, name):
    """A folder that is there is no pattern, even where a neighbour matches it."""
    for folder in (name, "a 1", "staar", "what"):
        for photo in ("x.jpg", "y [2].jpg"):
            (tmp_path / folder).mkdir(exist_ok=True)
            (tmp_path / folder / photo).touch()
    pattern = matching(f"{tmp_path}/{name}/*.jpg")
    assert pattern == [f"{tmp_path}/{name}/{photo}" for photo in ("x.jpg", "y [2].jpg")]
    assert matching(f"{tmp_path}/{name}/y [2].jpg") == [f"{tmp_path}/{name}/y [2].jpg"]
    assert matching(f"{tmp_path}/{name}/[wx].jpg") == [f"{tmp_path}/{name}/x.jpg"]


def test_a_pattern_may_begin_at_home(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / "x.jpg").touch()
    assert matching("~/*.jpg") == [f"{tmp_path}/x.jpg"]
