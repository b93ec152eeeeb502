"""A classifier in a notebook, and one that was handed on without its run."""

import json
import shutil

import numpy as np
import pytest
from PIL import Image

import dermjax
from dermjax import export as command
from dermjax.cli import task
from dermjax.configs import predict as predict_file
from dermjax.prediction import export_folder
from tests.prediction.test_predict import predicted, probabilities


@pytest.fixture(scope="module")
def classifier(base):
    return dermjax.load(base / "runs" / "ss")


def test_it_says_what_the_command_says(base, classifier, tmp_path):
    photo = base / "photos" / "rosacea-3-1.png"
    table = predicted(base / "runs" / "ss", photo, tmp_path)
    with Image.open(photo) as image:
        pixels = np.asarray(image.convert("RGB"))
        answers = [classifier(photo), classifier(str(photo)), classifier(image), classifier(pixels)]
    for answer in answers:
        assert answer.predicted == table["predicted"][0]
        assert " | ".join(answer.set) == table["set"][0]
        by_class = [answer.probabilities[name] for name in classifier.classes]
        np.testing.assert_allclose(by_class, probabilities(table)[0], atol=1e-6)
        assert answer.distance == pytest.approx(float(table["distance"][0]), rel=1e-5)
    assert answers[0].probabilities[answers[0].predicted] == max(by_class)


def test_several_photographs_and_boxes_have_the_answers_of_each(base, classifier):
    photos = [base / "photos" / f"acne-{n}-0.png" for n in range(3)]
    boxes = [None, (2, 3, 20, 20), None]
    together = classifier.answers(photos, boxes)
    for photo, box, answer in zip(photos, boxes, together, strict=True):
        alone = classifier(photo, box)
        assert alone.predicted == answer.predicted
        assert alone.distance == pytest.approx(answer.distance, rel=1e-4)
    with pytest.raises(ValueError, match="lies outside the image"):
        classifier(photos[0], (100, 100, 5, 5))


def test_a_grey_photograph_and_one_on_its_side_are_read_as_from_their_files(
    base, classifier, tmp_path
):
    with Image.open(base / "photos" / "acne-0-0.png") as image:
        turned = image.convert("RGB")
        exif = Image.Exif()
        exif[0x0112] = 6  # to be turned
        turned.save(tmp_path / "turned.jpg", quality=95, exif=exif)
        image.convert("L").save(tmp_path / "grey.png")
    for name in ("turned.jpg", "grey.png"):
        with Image.open(tmp_path / name) as opened:
            from_memory = classifier(opened)
        from_file = classifier(tmp_path / name)
        assert from_memory.distance == pytest.approx(from_file.distance, rel=2e-3), name


def test_an_exported_folder_answers_alike_and_names_no_patient(base, classifier, tmp_path):
    said = export_folder.export(str(base / "runs" / "ss"), str(tmp_path / "mine"))
    assert "efficientnet_tiny, 3 classes" in said
    photo = base / "photos" / "eczema-2-0.png"
    moved = tmp_path / "elsewhere"
    shutil.move(tmp_path / "mine", moved)
    answer, expected = dermjax.load(moved)(photo), classifier(photo)
    assert answer.predicted == expected.predicted and answer.set == expected.set
    assert answer.probabilities == pytest.approx(expected.probabilities, abs=1e-5)
    table = predicted(moved, base / "photos", tmp_path / "out")
    assert len(table) == 54

    names = {file.name for file in moved.iterdir()}
    assert {"config.json", "results.json", "weights.json", "reference.npz", "card.md"} <= names
    for file in moved.iterdir():
        content = file.read_bytes() if file.is_file() else b""
        for private in ("acne0", "photos/", str(base)):
            assert private.encode() not in content, (file.name, private)
    with pytest.raises(ValueError, match="not empty"):
        export_folder.export(str(base / "runs" / "ss"), str(moved))


def test_the_card_has_the_runs_own_numbers(base, tmp_path):
    export_folder.export(str(base / "runs" / "ss"), str(tmp_path / "mine"))
    card = (tmp_path / "mine" / "card.md").read_text()
    results = json.loads((base / "runs" / "ss" / "results.json").read_text())
    assert card.startswith("---\n") and "pipeline_tag: image-classification" in card
    n = results["n"]
    assert f"{n['train_labelled']} labelled of {n['train']} training images" in card
    assert f"{results['accuracy']:.3f}".replace("0.", ".") in card
    for words in ("acne, eczema, rosacea", "not a medical device", "MoCo-v2, 6 steps of 16 pairs"):
        assert words in card


def test_a_run_without_its_reference_says_how_to_get_one(base, tmp_path):
    shutil.copytree(base / "runs" / "ss", tmp_path / "old", symlinks=True)
    (tmp_path / "old" / "reference.npz").unlink()
    with pytest.raises(ValueError, match="predict with it once"):
        dermjax.load(tmp_path / "old")
    expected = predicted(base / "runs" / "ss", base / "photos", tmp_path / "a")
    table = predicted(tmp_path / "old", base / "photos", tmp_path / "b")
    np.testing.assert_allclose(probabilities(table), probabilities(expected), atol=1e-6)
    dermjax.load(tmp_path / "old")


def test_a_program_has_its_runs_temperature_and_a_card_that_shows_how_to_use_it(base, tmp_path):
    onnxruntime = pytest.importorskip("onnxruntime", reason="of the extra `test`")
    run = base / "runs" / "ss"
    assert command.main([str(run), str(tmp_path / "mine.onnx")]) == 0
    session = onnxruntime.InferenceSession(tmp_path / "mine.onnx")
    kept = session.get_modelmeta().custom_metadata_map
    temperature = dermjax.load(run).calibration.temperature
    assert float(kept["temperature"]) == pytest.approx(temperature)
    card = (tmp_path / "mine.onnx.card.md").read_text()
    assert "onnxruntime.InferenceSession" in card and "not a medical device" in card
    for ending in ("safetensors", "stablehlo"):
        assert command.main([str(run), str(tmp_path / f"b.{ending}")]) == 0
        assert (tmp_path / f"b.{ending}.card.md").read_text().count("```") == 2
    assert command.main([str(run), str(tmp_path / "folder")]) == 0
    assert (tmp_path / "folder" / "card.md").exists()


def test_an_encoder_has_no_card(base, tmp_path):
    path = tmp_path / "encoder.safetensors"
    assert command.main([str(base / "runs" / "ss"), str(path), "--stage=pretrain"]) == 0
    assert [file.name for file in tmp_path.iterdir()] == ["encoder.safetensors"]


@pytest.mark.parametrize(
    ("photograph", "box", "message"),
    [
        (
            np.zeros((20, 20, 3), np.float32),
            None,
            "an array of float32 .20, 20, 3. is no photograph",
        ),
        (np.zeros((3, 20, 20), np.uint8), None, "is no photograph"),
        (Image.new("F", (20, 20)), None, "mode F have no known range"),
        (np.zeros((20, 20), np.uint8), (1, 1, 0, 5), "finite, with w and h above 0"),
        (np.zeros((20, 20), np.uint8), (1, 1, 5), "must be x, y, w, h"),
        (np.zeros((20, 20), np.uint8), (-50, -50, 20, 20), "lies outside the image"),
        (np.zeros((20, 20), np.uint8), (np.nan, 1, 5, 5), "finite"),
    ],
)
def test_what_is_no_photograph_or_box_is_said(classifier, photograph, box, message):
    with pytest.raises(ValueError, match=message):
        classifier(photograph, box)


def test_lists_are_checked(base, classifier):
    photo = str(base / "photos" / "acne-0-0.png")
    with pytest.raises(ValueError, match="takes a list of photographs"):
        classifier.answers(photo)
    with pytest.raises(ValueError, match="1 boxes of 2 photographs"):
        classifier.answers([photo, photo], [None])


def test_an_export_has_no_data_of_its_own_and_is_not_exported_again(base, tmp_path, monkeypatch):
    """Wherever it is used: class folders in the current folder are not taken for its data."""
    exported = tmp_path / "mine"
    export_folder.export(str(base / "runs" / "ss"), str(exported))
    for name in ("acne", "wart"):
        (tmp_path / "here" / name).mkdir(parents=True)
        shutil.copy(base / "photos" / "acne-0-0.png", tmp_path / "here" / name / f"{name}.png")
    monkeypatch.chdir(tmp_path / "here")
    for images, fields in (("", {}), (base / "photos", {"tta": 8})):
        with pytest.raises(ValueError, match="is an export, which has no photographs of its own"):
            predicted(exported, images, tmp_path / "out", **fields)
    with pytest.raises(ValueError, match="is an export already: copy the folder"):
        export_folder.export(str(exported), str(tmp_path / "again"))
    assert command.main([str(exported), str(tmp_path / "again.safetensors")]) == 0
    # Nobody hands on photographs by trying it.
    config = predict_file.get_config(f"run={exported},images={base / 'photos' / 'acne-0-0.png'}")
    assert task.start(config) == 0
    assert not (exported / "predictions").exists()
    assert (tmp_path / "mine-predictions" / "predictions" / "predictions.csv").exists()


def test_a_damaged_export_is_named(base, tmp_path):
    export_folder.export(str(base / "runs" / "ss"), str(tmp_path / "mine"))
    file = tmp_path / "mine" / "reference.npz"
    whole = file.read_bytes()
    file.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(ValueError, match="mine is damaged: reference.npz cannot be read"):
        dermjax.load(tmp_path / "mine")
    file.write_bytes(whole)
    results = tmp_path / "mine" / "results.json"
    text = results.read_text()
    results.write_text(text[: len(text) // 2])
    with pytest.raises(ValueError, match="results.json is damaged"):
        dermjax.load(tmp_path / "mine")
    results.write_text(text)
    (tmp_path / "mine" / "classifier.safetensors").unlink()
    with pytest.raises(ValueError, match="it has no classifier.safetensors"):
        dermjax.load(tmp_path / "mine")


def test_a_card_that_somebody_has_filled_in_stays(base, tmp_path, capsys):
    words = [str(base / "runs" / "ss"), str(tmp_path / "a.safetensors")]
    assert command.main(words) == 0
    card = tmp_path / "a.safetensors.card.md"
    card.write_text(card.read_text().replace("license: other", "license: cc-by-nc-4.0"))
    assert command.main(words) == 0
    assert "stays as it is" in capsys.readouterr().out
    assert "cc-by-nc-4.0" in card.read_text()
