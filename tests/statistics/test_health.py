"""Warnings in words: each for what it names, and none for a healthy pretraining."""

import re

import pytest

from dermjax.statistics.health import diagnose

HEALTHY = {
    "queue_filled": 1.0,
    "queue_std": 0.08,
    "queue_effective_rank": 40.0,
    "knn_accuracy": 0.7,
    "majority_accuracy": 0.5,
}


def found(queue_size=512, images=2000, masked=False, **scalars):
    return diagnose(HEALTHY | scalars, dim=128, queue_size=queue_size, images=images, masked=masked)


def test_a_healthy_pretraining_is_left_in_peace():
    assert found() == {}


@pytest.mark.parametrize(
    ("name", "change", "words"),
    [
        ("collapse", {"queue_std": 0.004}, "have collapsed.*= 0.05"),
        ("cone", {"queue_std": 0.02}, "narrow cone.*= 0.23"),
        ("rank", {"queue_effective_rank": 1.4}, "effective rank of 1.4 of 128"),
        ("queue", {"queue_size": 65536}, "65536 keys is longer than the 2000 .*mask_same_image"),
        ("floor", {"knn_accuracy": 0.5}, r"accuracy 0.500.*commonest class \(0.500\)"),
    ],
)
def test_what_is_wrong_is_named_with_its_number(name, change, words):
    warnings = found(**change)
    assert list(warnings) == [name]
    assert re.search(words, warnings[name]), warnings[name]


def test_a_queue_of_noise_says_nothing_of_the_encoder():
    assert found(queue_std=0.001, queue_effective_rank=1.0, queue_filled=0.5) == {}


def test_masking_settles_a_long_queue():
    assert found(queue_size=65536, masked=True) == {}


def test_without_scalars_only_the_settings_are_judged():
    assert diagnose({}, dim=128, queue_size=10, images=100, masked=False) == {}
    assert list(diagnose({}, dim=128, queue_size=100, images=100, masked=False)) == ["queue"]
