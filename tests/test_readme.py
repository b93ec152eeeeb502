"""What the README shows works when it is pasted."""

import pathlib
import re

import safetensors.numpy

from dermjax.models import timm
from tests.models.test_timm import random_variables

README = pathlib.Path(__file__).resolve().parents[1] / "README.md"


def test_the_python_section_runs(hub, tmp_path, monkeypatch):
    """With the hub's file replaced by one of the same shapes."""
    arrays = timm.to_timm(random_variables("efficientnet_b4", 1000))
    content = safetensors.numpy.save(arrays, metadata={"format": "pt"})
    hub.files["timm/efficientnet_b4.ra2_in1k", "model.safetensors"] = content
    monkeypatch.chdir(tmp_path)
    (code,) = re.findall(r"```python\n(.*?)```", README.read_text(), re.DOTALL)
    names = {}
    exec(code, names)
    assert names["images"].shape == (1, 384, 384, 3)
    assert names["logits"].shape == (1, 10)
    assert (tmp_path / "mine.safetensors").stat().st_size > 70e6


def test_every_file_that_the_readme_names_exists():
    named = re.findall(r"\b(?:configs|tests)/[\w/]+\.py\b", README.read_text())
    assert len(named) > 3
    for path in named:
        assert (README.parent / path).is_file(), path
