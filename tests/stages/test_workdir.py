"""Files in a run's folder are whole or not there."""

import pytest
from etils import epath

from dermjax.stages import workdir


def test_a_text_replaces_the_older_one_and_leaves_nothing_beside_it(tmp_path):
    path = epath.Path(tmp_path) / "page.html"
    path.write_text("an older page")
    workdir.write_text(path, "母斑")
    assert path.read_bytes().decode("utf-8") == "母斑"
    assert [file.name for file in path.parent.iterdir()] == ["page.html"]


def test_a_file_name_that_is_no_unicode_can_be_written(tmp_path):
    path = epath.Path(tmp_path) / "page.html"
    workdir.write_text(path, "a \udcff b")
    assert path.read_bytes() == b"a ? b"


def test_a_writer_that_fails_leaves_the_older_file(tmp_path):
    path = epath.Path(tmp_path) / "features.npz"
    path.write_text("older")
    with pytest.raises(RuntimeError), workdir.whole_file(path) as file:
        file.write(b"half of")
        raise RuntimeError("killed")
    assert path.read_text() == "older"
    folder = epath.Path(tmp_path) / "folder"
    folder.mkdir()
    with pytest.raises(OSError):
        workdir.write_text(folder, "text")
    assert {file.name for file in path.parent.iterdir()} == {"features.npz", "folder"}
