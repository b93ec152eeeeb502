"""A run's folder: its files are whole or not there, and a refused run has none."""

import pytest
from etils import epath

from dermjax.runs import claim, files, lock
from dermjax.training.writer import Writer


def test_a_text_replaces_the_older_one_and_leaves_nothing_beside_it(tmp_path):
    path = epath.Path(tmp_path) / "page.html"
    path.write_text("an older page")
    files.write_text(path, "母斑")
    assert path.read_bytes().decode("utf-8") == "母斑"
    assert [file.name for file in path.parent.iterdir()] == ["page.html"]


def test_a_file_name_that_is_no_unicode_can_be_written(tmp_path):
    path = epath.Path(tmp_path) / "page.html"
    files.write_text(path, "a \udcff b")
    assert path.read_bytes() == b"a ? b"


def test_a_writer_that_fails_leaves_the_older_file(tmp_path):
    path = epath.Path(tmp_path) / "features.npz"
    path.write_text("older")
    with pytest.raises(RuntimeError), files.whole_file(path) as file:
        file.write(b"half of")
        raise RuntimeError("killed")
    assert path.read_text() == "older"
    folder = epath.Path(tmp_path) / "folder"
    folder.mkdir()
    with pytest.raises(OSError):
        files.write_text(folder, "text")
    assert {file.name for file in path.parent.iterdir()} == {"features.npz", "folder"}


def test_a_folder_is_of_one_config_but_of_any_way_to_compute_it(tmp_path):
    folder, config = epath.Path(tmp_path), {"finetune": {"steps": 6, "accumulate_steps": 1}}
    claim.claim(folder, config)
    claim.check_claim(folder, {"finetune": {"steps": 6, "accumulate_steps": 4}})
    claim.check_claim(folder, {"finetune": {"steps": 6}})  # of before there was such a field
    with pytest.raises(ValueError, match=r"config \(finetune.steps: 6 there, 7 here\)"):
        claim.check_claim(folder, {"finetune": {"steps": 7, "accumulate_steps": 4}})


def refused(folder):
    with pytest.raises(ValueError, match="mend it"):
        with lock.exclusive(folder, Writer(), wait=False):
            assert lock.is_taken(folder)
            raise ValueError("mend it")


def test_a_refused_run_leaves_nothing_behind(tmp_path):
    refused(tmp_path / "runs" / "mine")
    assert not list(tmp_path.iterdir())
    (tmp_path / "runs").mkdir()
    refused(tmp_path / "runs" / "mine")
    assert not list((tmp_path / "runs").iterdir())  # an empty folder that was there stays


def test_a_refused_run_leaves_what_was_there(tmp_path):
    (tmp_path / "photos.csv").write_text("image,label")
    refused(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["photos.csv"]


def test_a_folder_has_one_process_at_a_time(tmp_path):
    folder = tmp_path / "run"
    with lock.exclusive(folder, Writer(), wait=False):
        with pytest.raises(ValueError, match="another process is running"):
            with lock.exclusive(folder, Writer(), wait=False):
                pass
        assert lock.is_taken(folder)  # still: who is refused takes nothing away
        (folder / "results.json").write_text("{}")
    assert not lock.is_taken(folder)
    assert [path.name for path in folder.iterdir()] == ["results.json"]


def test_a_folder_of_before_a_field_came_still_continues(tmp_path):
    """With what it did without the field, and with nothing else."""
    folder = epath.Path(tmp_path)
    claim.claim(folder, {"pretrain": {"steps": 6}, "trials": 3})
    claim.check_claim(folder, {"pretrain": {"steps": 6, "repeat": 0}, "trials": 3})
    same = {"pretrain": {"steps": 6, "repeat": 0}, "trials": 3, "pretrainings": 1}
    claim.check_claim(folder, same)
    for other, named in (
        ({"pretrain": {"steps": 6, "repeat": 1}, "trials": 3}, "pretrain.repeat: 0 there, 1 here"),
        ({**same, "pretrainings": 3}, "pretrainings: 1 there, 3 here"),
    ):
        with pytest.raises(ValueError, match=named):
            claim.check_claim(folder, other)


def test_a_new_field_is_known_by_its_whole_name(tmp_path):
    """Another one whose name ends alike did not have the value of this one before it came."""
    folder = epath.Path(tmp_path)
    claim.claim(folder, {"run": {"pretrain": {"steps": 6}}})
    same = {"run": {"pretrain": {"steps": 6, "repeat": 0}}, "pretrainings": 1}
    claim.check_claim(folder, same)
    for other in ({"shared_pretrainings": 1}, {"probe": {"pretrain": {"repeat": 0}}}):
        with pytest.raises(ValueError, match=r"'\(none\)' there"):
            claim.check_claim(folder, same | other)
