"""A finished run's network as a program for those who have neither the run nor dermjax."""

import json
import subprocess
import sys

import jax
import numpy as np
import pytest
from PIL import Image

import dermjax
from dermjax import export as command
from dermjax import models
from dermjax.experiment import export

CLASSES = ["acne", "eczema", "rosacea"]
# What is imported afterwards stands alone: these packages cannot be had.
ALONE = "import sys; sys.modules.update(dict.fromkeys(['jax', 'flax', 'dermjax', 'onnx']))\n"


@pytest.fixture
def photograph(tmp_path):
    """A JPEG whose camera was held sideways."""
    path = tmp_path / "photograph.jpg"
    colours = np.random.default_rng(3).integers(0, 256, (4, 5, 3), np.uint8)
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.fromarray(colours).resize((150, 120)).save(path, quality=95, exif=exif)
    return path


def squeezed(photograph, how):
    """`[16, 16, 3]`: all of the upright photograph at the network's size, as in evaluation."""
    upright = Image.open(photograph).transpose(Image.Transpose.ROTATE_270)
    return np.asarray(upright.resize((16, 16), Image.Resampling[how.interpolation.upper()]))


def answer_of_the_weights(run, photograph, temperature=1.0):
    """By dermjax with the weights that the run exports: the squeezed image, probabilities."""
    path = photograph.with_suffix(".safetensors")
    export.export(str(run), str(path), "finetune")
    model, variables = dermjax.create_model("efficientnet_tiny", len(CLASSES), path)
    how = model.preprocessing
    image = squeezed(photograph, how)
    normalised = (image / np.float32(255) - np.float32(how.mean)) / np.float32(how.std)
    logits = model.apply(variables, normalised[None], train=False)
    return image, np.asarray(jax.nn.softmax(logits / temperature))[0]


def test_onnxruntime_and_pillow_alone_classify_a_jpeg(base, tmp_path, photograph):
    pytest.importorskip("onnxruntime", reason="runs the file; of the extra `test`")
    pytest.importorskip("onnx", reason="of the extra `onnx`")
    from dermjax.models import onnx

    run, path = base / "runs" / "ss", tmp_path / "mine.onnx"
    said = export.export(str(run), str(path), "finetune", temperature=0.1)
    best = json.loads((run / "results.json").read_text())["best_step"]
    assert f"classes acne, eczema, rosacea, step {best} of finetune" in said
    words = [sys.executable, "-I", "-c", ALONE + onnx.EXAMPLE, path, photograph]
    done = subprocess.run(words, capture_output=True, text=True, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    found = {name: float(number) for number, name in map(str.split, done.stdout.splitlines())}
    assert list(found) == CLASSES
    _, expected = answer_of_the_weights(run, photograph, temperature=0.1)
    np.testing.assert_allclose(list(found.values()), expected, atol=2e-3)
    assert np.ptp(expected) > 0.05


def test_the_command_writes_a_program_for_jax(base, tmp_path, photograph, capsys):
    run, path = base / "runs" / "ss", tmp_path / "mine.stablehlo"
    assert command.main([str(run), str(path)]) == 0
    assert "mine.stablehlo: efficientnet_tiny, classes acne, eczema" in capsys.readouterr().out
    program = jax.export.deserialize(bytearray(path.read_bytes()))
    temperature = dermjax.load(run).calibration.temperature
    image, expected = answer_of_the_weights(run, photograph, temperature)
    found = program.call(image[None])["probabilities"][0]
    np.testing.assert_allclose(found, expected, atol=1e-5)


@pytest.mark.parametrize("ending", [".onnx", ".stablehlo"])
def test_an_encoder_is_written_as_weights_only(base, tmp_path, ending):
    path = tmp_path / f"x{ending}"
    with pytest.raises(ValueError, match="has no classes to tell apart; write it as .safetensors"):
        export.export(str(base / "runs" / "ss"), str(path), "pretrain")
    assert not path.exists()


def test_the_missing_extra_is_one_line(base, tmp_path, capsys, monkeypatch):
    monkeypatch.setitem(sys.modules, "onnx", None)
    monkeypatch.delitem(sys.modules, "dermjax.models.onnx", raising=False)
    monkeypatch.delattr(models, "onnx", raising=False)
    assert command.main([str(base / "runs" / "ss"), str(tmp_path / "x.onnx")]) == 2
    said = capsys.readouterr().err
    assert "an .onnx file needs the package onnx: pip install -e '.[onnx]'" in said
    assert said.count("\n") == 1 and not list(tmp_path.iterdir())
