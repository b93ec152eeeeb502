"""What the tests of whole runs share."""

import pytest

from dermjax.stages import run
from tests.stages.clinic import tiny_config, write_clinic


@pytest.fixture(scope="session")
def base(tmp_path_factory):
    """One clinic, one cache, and one finished SS run for the tests that only look."""
    folder = tmp_path_factory.mktemp("clinic")
    manifest = write_clinic(folder)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("DERMJAX_CACHE", str(folder / "cache"))
        assert run.run(tiny_config("SS", manifest), str(folder / "runs" / "ss")) == 0
        yield folder


@pytest.fixture
def table(base):
    """The clinic's table, which is put back as it was."""
    path = base / "photos.csv"
    text = path.read_text()
    yield path
    path.write_text(text)
