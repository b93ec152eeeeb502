"""Batches: position is the step, each image once per epoch, padding never counts as an image."""

import gc
import io

import jax
import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from dermjax.data import images, partners, pipeline


class Source:
    """JPEGs of one colour and of different shapes; remembers nothing."""

    def __len__(self):
        return 11

    def __getitem__(self, row):
        pixels = np.full((10 + row, 21 - row, 3), 20 * row, np.uint8)
        buffer = io.BytesIO()
        Image.fromarray(pixels).save(buffer, "JPEG", quality=95)
        return buffer.getvalue()


LABELS = np.arange(11, dtype=np.int32) * 3
UNEQUAL = np.array([0, 0, 2, 0, 1, 0, 1, 0, 0, 1, 0], np.int32)  # 7, 3 and 1 of a class


def training(
    count,
    *,
    rows=range(11),
    batch_size=4,
    seed=0,
    start=0,
    labels=LABELS,
    sampling="uniform",
    partners=None,
    **reading,
):
    iterator = pipeline.training_batches(
        Source(),
        np.array(rows),
        labels,
        side=24,
        order=pipeline.Order(batch_size, seed, start, sampling),
        reading=pipeline.Reading(**reading),
        partners=partners,
    )
    return [next(iterator) for _ in range(count)]


def test_a_batch_holds_pixels_size_id_and_label():
    (batch,) = training(1)
    assert batch["image"].shape == (4, 24, 24, 3) and batch["image"].dtype == np.uint8
    fields = ("image", "size", "id", "label")
    for image, size, row, label in zip(*(batch[k] for k in fields), strict=True):
        assert tuple(size) == (10 + row, 21 - row)
        assert label == 3 * row
        valid = image[: size[0], : size[1]].astype(int)
        assert np.abs(valid - 20 * row).max() <= 2  # JPEG
        assert not image[size[0] :].any() and not image[:, size[1] :].any()


def test_every_epoch_holds_every_image_once_in_a_new_order():
    ids = np.concatenate([b["id"] for b in training(11)]).reshape(4, 11)
    assert all(sorted(epoch) == list(range(11)) for epoch in ids)
    assert len({tuple(epoch) for epoch in ids}) == 4


def test_few_rows_fill_a_large_batch():
    (batch,) = training(1, rows=[2, 5, 7], batch_size=8)
    counts = np.unique(batch["id"], return_counts=True)
    assert list(counts[0]) == [2, 5, 7] and counts[1].min() >= 2


@settings(deadline=None, max_examples=12)
@given(
    start=st.integers(0, 40),
    threads=st.integers(1, 4),
    sampling=st.sampled_from(pipeline.SAMPLINGS),
)
def test_a_resumed_position_gives_the_same_batches(start, threads, sampling):
    order = dict(labels=UNEQUAL, sampling=sampling)
    whole = training(start + 2, threads=1, **order)[start:]
    resumed = training(2, start=start, threads=threads, **order)
    for a, b in zip(whole, resumed, strict=True):
        for name in a:
            np.testing.assert_array_equal(a[name], b[name])


@pytest.mark.parametrize("sampling", pipeline.SAMPLINGS)
@pytest.mark.parametrize("processes", [2, 4])
def test_shares_in_the_order_of_the_processes_are_the_batch_of_one(processes, sampling):
    """Not only its images: their places too, on which views and batch norm groups depend."""
    order = dict(start=1, labels=UNEQUAL, sampling=sampling)
    whole = training(6, **order)
    parts = [
        training(6, process_index=i, process_count=processes, **order) for i in range(processes)
    ]
    for batch, *shares in zip(whole, *parts, strict=True):
        assert {len(share["id"]) for share in shares} == {4 // processes}
        for name, rows in batch.items():
            np.testing.assert_array_equal(np.concatenate([s[name] for s in shares]), rows)


@settings(deadline=None, max_examples=25)
@given(
    processes=st.integers(1, 4),
    share=st.integers(1, 4),
    count=st.integers(1, 11),
    seed=st.integers(0, 3),
)
def test_all_processes_together_see_one_pass_an_epoch(processes, share, count, seed):
    """Whatever the process count: no image twice in an epoch, none left out, to each its share."""
    rows = np.random.default_rng(seed).permutation(11)[:count]
    batch_size, epochs = processes * share, 3
    steps = -(-epochs * count // batch_size)
    parts = [
        training(
            steps,
            rows=rows,
            batch_size=batch_size,
            seed=seed,
            process_index=index,
            process_count=processes,
        )
        for index in range(processes)
    ]
    seen = []
    for batches in zip(*parts, strict=True):
        for batch in batches:
            assert len(batch["id"]) == len(batch["image"]) == share
            seen.extend(batch["id"].tolist())
            np.testing.assert_array_equal(batch["label"], LABELS[batch["id"]])
    for epoch in range(epochs):
        assert sorted(seen[epoch * count : (epoch + 1) * count]) == sorted(rows)


@settings(deadline=None, max_examples=25)
@given(processes=st.integers(1, 4), share=st.integers(1, 4), count=st.integers(1, 11))
def test_all_processes_together_evaluate_every_row_once(processes, share, count):
    rows = np.random.default_rng(count).permutation(11)[:count]
    seen, steps = [], set()
    for index in range(processes):
        batches = list(
            pipeline.evaluation_batches(
                Source(),
                rows,
                size=8,
                interpolation="bilinear",
                batch_size=processes * share,
                reading=pipeline.Reading(process_index=index, process_count=processes),
            )
        )
        steps.add(len(batches))
        ids = np.concatenate([batch["id"] for batch in batches])
        own = ids[ids != pipeline.PADDING_ID].tolist()
        assert set(own) == set(rows[index::processes])  # to each its share, as evenly as it goes
        seen += own
    assert sorted(seen) == sorted(rows) and len(steps) == 1


@pytest.mark.parametrize("width", [24, 20])
def test_pixels_come_as_they_are_with_zeros_around(width):
    """An image as wide as the buffer is decoded into it; a narrower one is copied."""
    pixels = np.random.default_rng(0).integers(1, 256, (15, width, 3), np.uint8)
    jpeg = images.encode_jpeg(Image.fromarray(pixels), 95)
    for data in (pixels, jpeg):
        batch = next(
            pipeline.training_batches(
                [data] * 2,
                [0, 1],
                LABELS,
                side=24,
                order=pipeline.Order(2, seed=0),
                reading=pipeline.Reading(),
            )
        )
        expected = np.zeros((24, 24, 3), np.uint8)
        expected[:15, :width] = pipeline.to_pixels(data)
        np.testing.assert_array_equal(batch["image"], np.stack([expected] * 2))


@pytest.mark.parametrize("sampling", pipeline.SAMPLINGS)
def test_the_seed_changes_the_order(sampling):
    order = dict(labels=UNEQUAL, sampling=sampling)
    a, b = (np.concatenate([x["id"] for x in training(3, seed=s, **order)]) for s in (0, 1))
    assert not np.array_equal(a, b)


@settings(deadline=None, max_examples=12)
@given(
    labels=st.lists(st.integers(0, 4), min_size=11, max_size=11),
    batch_size=st.integers(1, 9),
    start=st.integers(0, 12),
)
def test_balanced_classes_are_equally_often_in_every_run_of_batches(labels, batch_size, start):
    """However unequal they are: their counts differ by one at most, and by none over a cycle."""
    labels = np.array(labels, np.int32)
    order = dict(labels=labels, batch_size=batch_size, sampling="balanced")
    shown = np.concatenate([batch["label"] for batch in training(start + 4, **order)])
    classes = np.unique(labels)
    for end in range(1, len(shown) + 1):
        counts = [(shown[:end] == label).sum() for label in classes]
        assert max(counts) - min(counts) <= (end % len(classes) > 0)


def test_a_balanced_class_shows_each_of_its_images_before_any_again():
    ids = np.concatenate([b["id"] for b in training(30, labels=UNEQUAL, sampling="balanced")])
    assert set(ids) == set(range(11))
    for label in range(3):
        own = np.flatnonzero(UNEQUAL == label)
        shown = ids[np.isin(ids, own)]
        passes = shown[: len(shown) // len(own) * len(own)].reshape(-1, len(own))
        assert len(passes) >= 5 and all(sorted(one) == list(own) for one in passes)
        assert len(own) == 1 or len({tuple(one) for one in passes}) > 1


def test_the_classes_of_balanced_batches_take_turns_in_a_changing_order():
    """A fixed order would tie a class to places of the batch, and so to batch norm groups."""
    shown = np.concatenate([b["label"] for b in training(30, labels=UNEQUAL, sampling="balanced")])
    assert len({tuple(cycle) for cycle in shown.reshape(-1, 3)}) == 6


def test_no_rows_and_unknown_samplings_are_refused():
    with pytest.raises(ValueError, match="no images to train on"):
        training(1, rows=[])
    with pytest.raises(ValueError, match="'stratified' is not known; take uniform or balanced"):
        training(1, sampling="stratified")


LESIONS = np.array([0, 1, 1, 2, 2, 2, 2, 3, 0, 0, 0])  # of 4, 2, 4 and 1 photographs


def pairs(rows=range(11)):
    """The partners of these rows, by lesion."""
    names = np.arange(11).astype(str)
    table = {"name": names, "patient": names, "group": names, "lesion": LESIONS.astype(str)}
    return partners.find(pd.DataFrame(table, dtype="str"), np.array(rows), "lesion")


def test_an_image_comes_with_another_photograph_of_its_lesion_and_both_with_their_pixels():
    for batch in training(11, partners=pairs()):
        ids, others = batch["id"], batch["partner_id"]
        assert (LESIONS[others] == LESIONS[ids]).all()
        assert ((others == ids) == (LESIONS[ids] == 3)).all()
        assert batch["partner_image"].shape == (4, 24, 24, 3)
        for image, size, row in zip(
            batch["partner_image"], batch["partner_size"], others, strict=True
        ):
            assert tuple(size) == (10 + row, 21 - row)
            assert np.abs(image[: size[0], : size[1]].astype(int) - 20 * row).max() <= 2  # JPEG
            assert not image[size[0] :].any() and not image[:, size[1] :].any()


def test_partners_change_nothing_of_the_images_themselves():
    for alone, paired in zip(training(6), training(6, partners=pairs()), strict=True):
        assert set(alone) == {"image", "size", "id", "label"}
        for name, values in alone.items():
            np.testing.assert_array_equal(paired[name], values)


@settings(deadline=None, max_examples=25)
@given(
    processes=st.integers(1, 4),
    share=st.integers(1, 3),
    start=st.integers(0, 30),
    threads=st.integers(1, 4),
    seed=st.integers(0, 3),
    rows=st.sets(st.integers(0, 10), min_size=1).map(sorted),
)
def test_partners_depend_on_the_seed_and_the_step_alone(
    processes, share, start, threads, seed, rows
):
    """Not on the number of processes and threads, nor on where a run was resumed."""
    rows = sorted({1, 2, 3, *rows})
    order = dict(batch_size=processes * share, rows=rows, seed=seed, partners=pairs(rows))
    whole = training(start + 2, threads=1, **order)[start:]
    parts = [
        training(
            2,
            start=start,
            threads=threads,
            process_index=index,
            process_count=processes,
            **order,
        )
        for index in range(processes)
    ]
    for batch, *shares in zip(whole, *parts, strict=True):
        for name, values in batch.items():
            np.testing.assert_array_equal(np.concatenate([s[name] for s in shares]), values)
        assert set(batch["partner_id"]) <= set(rows)


def test_partners_are_drawn_anew_in_every_epoch_and_equally_often():
    epochs = 400
    batches = training(epochs, batch_size=11, partners=pairs())
    ids, others = (np.stack([b[name] for b in batches]) for name in ("id", "partner_id"))
    for row in range(11):
        own = others[ids == row]
        assert len(own) == epochs
        found, times = np.unique(own, return_counts=True)
        choices = max((LESIONS == LESIONS[row]).sum() - 1, 1)
        assert len(found) == choices
        if choices > 1:
            # 5 standard deviations of a fair draw, which a given one of the 11 rows' is within.
            spread = 5 * np.sqrt(epochs * (choices - 1)) / choices
            assert np.abs(times - epochs / choices).max() < spread
            assert (own[1:] == own[:-1]).mean() < 0.5  # not the same one again and again
    other = training(3, batch_size=11, seed=1, partners=pairs())
    assert not np.array_equal(other[0]["partner_id"], others[0])


def test_whatever_is_held_of_a_partner_stays_as_it_is():
    """Its memory is used again only when nobody holds it."""
    expected = [batch["partner_image"].copy() for batch in training(20, partners=pairs())]
    held = [batch["partner_image"][1] for batch in training(20, partners=pairs())]
    gc.collect()
    for ours, theirs in zip(held, expected, strict=True):
        np.testing.assert_array_equal(ours, theirs[1])


@pytest.mark.parametrize("processes", [1, 2])
@pytest.mark.parametrize("batch_size", [2, 4, 8, 16])
def test_evaluation_gives_every_row_exactly_once(batch_size, processes):
    rows = np.array([9, 1, 4, 0, 7, 3, 10])
    seen, steps = [], []
    for index in range(processes):
        reading = pipeline.Reading(process_index=index, process_count=processes)
        batches = list(
            pipeline.evaluation_batches(
                Source(),
                rows,
                size=16,
                interpolation="bicubic",
                batch_size=batch_size,
                reading=reading,
            )
        )
        steps.append(len(batches))
        for batch in batches:
            assert batch["image"].shape == (batch_size // processes, 16, 16, 3)
            for image, row in zip(batch["image"], batch["id"], strict=True):
                if row == pipeline.PADDING_ID:
                    assert not image.any()
                else:
                    assert abs(int(image.mean()) - 20 * row) <= 2
                    seen.append(row)
    assert sorted(seen) == sorted(rows)
    assert len(set(steps)) == 1  # every process takes part in every step


@pytest.mark.parametrize("interpolation", ["bilinear", "bicubic"])
def test_evaluation_resizes_as_asked(interpolation):
    pixels = np.random.default_rng(0).integers(0, 256, (30, 20, 3), np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "PNG")
    (batch,) = pipeline.evaluation_batches(
        [buffer.getvalue()],
        [0],
        size=16,
        interpolation=interpolation,
        batch_size=1,
        reading=pipeline.Reading(),
    )
    expected = Image.fromarray(pixels).resize((16, 16), Image.Resampling[interpolation.upper()])
    np.testing.assert_array_equal(batch["image"][0], np.asarray(expected))


def _iterator(batch_size=4):
    return pipeline.training_batches(
        Source(),
        np.arange(11),
        LABELS,
        side=24,
        order=pipeline.Order(batch_size, seed=0),
        reading=pipeline.Reading(threads=1, prefetch_batches=1),
    )


@pytest.fixture
def only_new_garbage():
    """What is there already is not looked through at every collection."""
    gc.freeze()
    yield
    gc.unfreeze()


HOLDERS = {
    "the batch": lambda images: images,
    "a part of an image": lambda images: images[1, 2:, ::2],
    "a view": lambda images: images.reshape(-1).view(np.int8),
    "an array on a device": jax.device_put,
}


@pytest.mark.parametrize("name", HOLDERS)
def test_whatever_is_held_of_a_batch_stays_as_it_is(name, only_new_garbage):
    expected = [np.array(HOLDERS[name](batch["image"])) for batch in training(20)]
    iterator = _iterator()
    held = []
    for _ in range(20):
        held.append(HOLDERS[name](next(iterator)["image"]))
        gc.collect()  # the batch itself is gone
    for ours, theirs in zip(held, expected, strict=True):
        np.testing.assert_array_equal(ours, theirs)


@pytest.mark.slow
def test_memory_that_nobody_holds_is_used_again_and_cleared():
    iterator, addresses = _iterator(), []
    for expected in training(40):
        batch = next(iterator)
        addresses.append(batch["image"].ctypes.data)
        np.testing.assert_array_equal(batch["image"], expected["image"])
        del batch
        gc.collect()
    assert len(set(addresses)) <= 6
