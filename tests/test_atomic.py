"""Files are whole or not there."""

import pytest

from dermjax import atomic


def test_a_file_replaces_the_older_one_when_it_is_complete(tmp_path):
    path = tmp_path / "photos.csv"
    path.write_text("older")
    with atomic.replace(path) as beside:
        beside.write_text("half")
        assert path.read_text() == "older" and beside.name.endswith(atomic.PART)
        beside.write_text("whole")
    assert path.read_text() == "whole"
    assert list(tmp_path.iterdir()) == [path]


def test_a_writer_that_fails_leaves_the_older_file(tmp_path):
    path = tmp_path / "photos.csv"
    path.write_text("older")
    with pytest.raises(RuntimeError), atomic.replace(path) as beside:
        beside.write_text("half")
        raise RuntimeError("killed")
    assert path.read_text() == "older"
    assert list(tmp_path.iterdir()) == [path]
