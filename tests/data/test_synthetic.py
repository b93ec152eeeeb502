"""The synthetic photographs: the same for everyone, resumable, with boxes that fit the masks."""

import collections
import csv
import json

import numpy as np
import pytest
from PIL import Image

from dermjax.data import workers
from dermjax.data.synthetic import CLASSES, SyntheticSettings, write_dataset
from dermjax.data.synthetic.dataset import COLUMNS, boxes_of_mask
from dermjax.data.synthetic.patients import (
    LESIONS_FLOOR,
    PAPER_COUNTS,
    PATIENTS_FLOOR,
    PhotoPlan,
    class_counts,
    draw_patient,
    plan_photos,
)
from dermjax.data.synthetic.render import PARTS, render_photo

_PAPER = dict(zip(CLASSES, PAPER_COUNTS, strict=True))
SMALL = SyntheticSettings(lesions=90, seed=3, width=160, height=96)


@pytest.fixture(scope="module")
def dataset(tmp_path_factory):
    """The small data set, drawn in this process."""
    directory = tmp_path_factory.mktemp("synthetic")
    table = write_dataset(directory, SMALL, workers=1)
    return table


def read(table):
    with open(table, newline="", encoding="utf-8") as stream:
        return list(csv.DictReader(stream))


def pixels(directory):
    """Every picture of a directory, decoded, by its relative path."""
    found = {}
    for path in sorted(directory.glob("*/*")):
        with Image.open(path) as image:
            found[f"{path.parent.name}/{path.name}"] = np.asarray(image).astype(int)
    return found


def assert_same_directory(first, second):
    assert (first / "photos.csv").read_bytes() == (second / "photos.csv").read_bytes()
    ours, theirs = pixels(first), pixels(second)
    assert ours.keys() == theirs.keys()
    for name, image in ours.items():
        assert np.abs(image - theirs[name]).max() <= 1, name


def test_two_workers_draw_what_one_draws(dataset, tmp_path, monkeypatch):
    monkeypatch.setattr(workers, "WORTH", 2)
    write_dataset(tmp_path, SMALL, workers=2)
    assert_same_directory(dataset.parent, tmp_path)


def test_another_seed_draws_something_else():
    plan = plan_photos(SMALL)[0]
    other = SyntheticSettings(lesions=90, seed=4, width=160, height=96)
    first, second = render_photo(plan, SMALL), render_photo(plan, other)
    assert (first.image != second.image).mean() > 0.5


def test_a_broken_run_is_completed(dataset, tmp_path):
    names = sorted(path.name for path in (dataset.parent / "photos").iterdir())
    for folder in ("photos", "masks"):
        (tmp_path / folder).mkdir()
        for path in (dataset.parent / folder).iterdir():
            (tmp_path / folder / path.name).write_bytes(path.read_bytes())
    # What a kill leaves: lost photographs, a photograph without its mask, half a file.
    for name in names[::3]:
        (tmp_path / "photos" / name).unlink()
    (tmp_path / "masks" / names[1].replace(".jpg", ".png")).unlink()
    (tmp_path / "photos" / f"{names[0]}.123.part").write_bytes(b"half")
    kept = tmp_path / "photos" / names[2]
    before = kept.stat().st_mtime_ns
    write_dataset(tmp_path, SMALL, workers=1)
    assert kept.stat().st_mtime_ns == before
    assert_same_directory(dataset.parent, tmp_path)


def test_a_complete_directory_is_left_alone(dataset):
    photo = next((dataset.parent / "photos").iterdir())
    content = photo.read_bytes()
    photo.unlink()
    assert write_dataset(dataset.parent, SMALL, workers=1) == dataset
    assert not photo.exists()
    photo.write_bytes(content)


def test_another_setting_is_refused(dataset):
    other = SyntheticSettings(lesions=91, seed=3, width=160, height=96)
    with pytest.raises(ValueError, match="another directory"):
        write_dataset(dataset.parent, other, workers=1)
    assert json.loads((dataset.parent / "settings.json").read_text())["lesions"] == 90


def test_progress_sees_every_photograph(tmp_path):
    seen = []

    def track(iterable, total, label):
        for item in iterable:
            seen.append((total, label))
            yield item
            if len(seen) == 3:
                raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_dataset(tmp_path, SMALL, workers=1, track=track)
    assert seen[0][0] == len(plan_photos(SMALL))
    assert len(list((tmp_path / "photos").iterdir())) == 3
    assert not (tmp_path / "photos.csv").exists()


def test_the_table(dataset):
    rows = read(dataset)
    assert tuple(rows[0]) == COLUMNS
    assert len(rows) == SMALL.lesions
    assert len({row["lesion"] for row in rows}) == len(rows)
    for row in rows:
        assert row["label"] in CLASSES
        assert (dataset.parent / row["image"]).is_file()
        assert (dataset.parent / row["mask"]).is_file()
        assert 1 <= int(row["skin_type"]) <= 6
        assert 1 <= int(row["age"]) <= 95
        assert row["site"] in PARTS


def test_boxes_hold_their_masks(dataset):
    photos = collections.defaultdict(list)
    for row in read(dataset):
        photos[row["image"], row["mask"]].append([int(row[key]) for key in "xywh"])
    for (image, mask), boxes in photos.items():
        with Image.open(dataset.parent / image) as photo:
            assert photo.size == (SMALL.width, SMALL.height)
        with Image.open(dataset.parent / mask) as stored:
            values = np.asarray(stored)
        assert values.shape == (SMALL.height, SMALL.width)
        assert set(np.unique(values)) - {0} == set(range(1, len(boxes) + 1))
        for value, (x, y, width, height) in enumerate(boxes, 1):
            assert x >= 0 and y >= 0 and width > 0 and height > 0
            assert x + width <= SMALL.width and y + height <= SMALL.height
            rows, columns = np.nonzero(values == value)
            slack = 3 + 0.05 * max(np.ptp(rows), np.ptp(columns))
            assert 0 <= columns.min() - x <= slack
            assert 0 <= x + width - 1 - columns.max() <= slack
            assert 0 <= rows.min() - y <= slack
            assert 0 <= y + height - 1 - rows.max() <= slack


def test_a_lesion_without_pixels_is_an_error():
    with pytest.raises(ValueError, match="lesion 2 of 2"):
        boxes_of_mask(np.ones((8, 8), np.uint8), 2)


@pytest.mark.parametrize("label", CLASSES)
def test_the_mask_lies_where_the_photograph_differs(label):
    """Within a mask, colour varies more than on the skin about it."""
    settings = SyntheticSettings(lesions=90, seed=0, width=192, height=108)
    contrast = []
    for member in range(6):
        drawn = render_photo(PhotoPlan("x", "x", label, member, 0, 1, "trunk"), settings)
        ratio = np.log(drawn.image[..., 1] + 1.0) - np.log(drawn.image[..., 0] + 1.0)
        lesion = drawn.mask > 0
        assert 0.002 < lesion.mean() < 0.6
        contrast.append(ratio[~lesion].mean() - ratio[lesion].mean())
    assert np.median(contrast) > 0.03  # green over red falls where blood is


@pytest.mark.parametrize("site", PARTS)
def test_every_site_bears_three_lesions_at_the_smallest_size(site):
    settings = SyntheticSettings(lesions=90, seed=0, width=96, height=96)
    plan = PhotoPlan("x", "x", "atopic_dermatitis", 0, 0, 3, site)
    drawn = render_photo(plan, settings)
    assert drawn.image.shape == (96, 96, 3) and drawn.image.dtype == np.uint8
    assert len(boxes_of_mask(drawn.mask, 3)) == 3


@pytest.mark.parametrize("lesions", [90, 91, 500, 1600, 34665])
def test_counts_keep_the_long_tail(lesions):
    counts = class_counts(lesions)
    assert tuple(counts) == CLASSES
    assert sum(counts.values()) == lesions
    assert min(counts.values()) >= LESIONS_FLOOR
    if lesions >= 1600:
        assert max(counts, key=counts.get) == "psoriasis_vulgaris"
        assert counts["psoriasis_vulgaris"] / lesions == pytest.approx(0.504, abs=0.01)
    if lesions == 34665:
        assert counts["furuncle"] == 192


def test_a_flat_tail_gives_classes_of_one_size():
    assert set(class_counts(1000, 0.0).values()) == {100}


@pytest.mark.parametrize("tail", [0.25, 0.5, 1.0])
def test_the_tail_is_a_power_of_the_papers_counts(tail):
    counts = class_counts(100_000, tail)
    for one, count in counts.items():
        for other, others in counts.items():
            expected = (_PAPER[one] / _PAPER[other]) ** tail
            assert count / others == pytest.approx(expected, rel=0.01)


@pytest.mark.parametrize("lesions", [90, 1600])
def test_patients(lesions):
    plans = plan_photos(SyntheticSettings(lesions=lesions, seed=0))
    assert sum(plan.boxes for plan in plans) == lesions
    assert len({plan.name for plan in plans}) == len(plans)
    labels = collections.defaultdict(set)
    patients = collections.defaultdict(set)
    for plan in plans:
        labels[plan.patient].add(plan.label)
        patients[plan.label].add(plan.patient)
    assert all(len(found) == 1 for found in labels.values())
    assert all(len(patients[label]) >= PATIENTS_FLOOR for label in CLASSES)
    if lesions == 1600:
        assert sum(plan.boxes > 1 for plan in plans) > 200
        assert len(plans) > 1.5 * len(labels)
        assert 3 < lesions / len(labels) < 5


def test_skins_of_all_kinds():
    plans = plan_photos(SyntheticSettings(lesions=3000, seed=0))
    people = {(plan.label, plan.member) for plan in plans}
    types = collections.Counter(draw_patient(0, *person).skin_type for person in people)
    assert len(types) >= 5
    assert max(types.values()) < 0.5 * len(people)


@pytest.mark.parametrize(
    "change, message",
    [
        ({"lesions": 89}, "lesions 89 .* at least 90"),
        ({"seed": -1}, "seed -1"),
        ({"width": 95}, "width 95 px"),
        ({"height": 10}, "height 10 px"),
        ({"images_per_patient": 0.5}, "images_per_patient 0.5"),
        ({"tail": -0.1}, "tail -0.1"),
        ({"tail": 1.5}, "tail 1.5"),
    ],
)
def test_bad_settings(change, message):
    with pytest.raises(ValueError, match=message):
        SyntheticSettings(**{"lesions": 90, "seed": 0, **change})


def test_bad_workers(tmp_path):
    with pytest.raises(ValueError, match="workers -1"):
        write_dataset(tmp_path / "none", SMALL, workers=-1)
    assert not (tmp_path / "none").exists()
