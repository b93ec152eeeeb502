"""Figures: a warning is an error, or none is drawn at all."""

import warnings

import pytest
from matplotlib.figure import Figure


@pytest.fixture
def no_warnings():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        yield


@pytest.fixture
def blank_figures(monkeypatch):
    """Figures are files without content: drawing them is most of a report's time."""
    monkeypatch.setattr(Figure, "savefig", lambda figure, file, **_: file.write(b""))
