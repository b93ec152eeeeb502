"""Scores of maps: over which images they are averaged; that no batch and no device changes them."""

import functools
import html
import json
import re
import shutil

import jax
import numpy as np
import pandas as pd
import pytest
from jax.sharding import Mesh
from PIL import Image
from scipy import special

from dermjax import models
from dermjax.cli import task
from dermjax.report.numbers import number
from dermjax.saliency import (
    baselines,
    explainer,
    perturbation,
    perturbed_predictions,
    score_definitions,
    score_tables,
    scoring,
)
from dermjax.saliency.settings import SaliencySettings, ScoreSettings
from dermjax.training import parallel
from tests.saliency import score_oracle as oracle
from tests.saliency.patch_network import NETWORK, SIDE, VARIABLES
from tests.saliency.test_explain import config_of

pytestmark = pytest.mark.slow

IMAGES, MAPS = 5, 2
SETTINGS = ScoreSettings(
    least_probability=0.0,
    steps=6,
    pixels_per_step=0,
    sizes=2,
    least_n=0.05,
    most_n=0.5,
    masks=8,
    blur=60.0,
    blur_kernel=0,
)
HEAT = np.random.default_rng(3).uniform(size=(IMAGES, MAPS, SIDE, SIDE)).astype(np.float32)
TARGETS = [0, 1, 1, 0, 0]


class Photograph:
    def __init__(self, number):
        self.name = f"{number}.png"
        self._pixels = np.random.default_rng(number).integers(0, 255, (SIDE, SIDE, 3), np.uint8)

    def input(self, size, interpolation):
        return self._pixels


SAMPLES = [Photograph(number) for number in range(IMAGES)]


def explained_by(devices, images_per_batch, said=None):
    settings = SaliencySettings.from_config(config_of("run", images_per_batch=images_per_batch))
    mesh = Mesh(np.array(jax.devices()[:devices]), (parallel.AXIS,))

    class Said:
        def say(self, line):
            said.append(line)

    return explainer.Explainer(
        settings,
        NETWORK,
        VARIABLES,
        models.Preprocessing(),
        parallel.Devices(mesh),
        image_size=SIDE,
        writer=Said(),
    )


def scores_of(one, said=None):
    made = perturbed_predictions.Perturbed(one, SETTINGS, one._writer)
    found = []
    for first in range(0, IMAGES, made.at_once):
        part = slice(first, first + made.at_once)
        for answers in made.answers(SAMPLES[part], TARGETS[part], HEAT[part]):
            found.append(scoring._asked(answers, made))
    return found


def numbers(found):
    return np.array(
        [
            [one[name] for name in ("insertion", "deletion", "sensitivity_n")]
            for one in sum(found, [])
        ]
    )


def test_scores_are_those_of_numpy():
    one, wanted = explained_by(1, 8), []
    counts, shares, sizes = perturbed_predictions.changes(SETTINGS, SIDE)
    for sample, target, maps in zip(SAMPLES, TARGETS, HEAT, strict=True):
        image = np.asarray(one.normalize(one.input([sample])), np.float32)[0]
        key = jax.random.wrap_key_data(one.given([sample], [target])["key"][0])
        draw = functools.partial(perturbation.random_set, shape=(SIDE, SIDE))
        draw = jax.jit(jax.vmap(draw, (None, None, 0)))
        masks = np.array([draw(key, n, np.arange(8)) for n in sizes])

        def logit(images, target=target):
            return one.logits(images)[:, target]

        def probability(images, target=target):
            return special.softmax(one.logits(images), axis=-1)[:, target]

        for heat in maps:
            wanted.append(
                [
                    oracle.insertion(probability, image, heat, counts, shares, sigma=60),
                    oracle.deletion(probability, image, heat, counts, shares),
                    oracle.sensitivity_n(logit, image, heat, masks).mean(),
                ]
            )
    np.testing.assert_allclose(numbers(scores_of(one)), wanted, atol=1e-4)


@pytest.mark.parametrize(("devices", "images_per_batch"), [(1, 3), (4, 4), (4, 64)])
def test_scores_depend_neither_on_devices_nor_on_batches(devices, images_per_batch):
    wanted = numbers(scores_of(explained_by(1, 8)))
    found = numbers(scores_of(explained_by(devices, images_per_batch)))
    np.testing.assert_allclose(found, wanted, atol=1e-5)


def test_smaller_chunks_are_taken_where_the_memory_is_too_small(monkeypatch):
    made, sizes, said = perturbation.answers, [], []

    def small(*given):
        *_, changes = given
        sizes.append(changes.chunk)
        if changes.chunk > 4:
            raise jax.errors.JaxRuntimeError("RESOURCE_EXHAUSTED: out of memory")
        return made(*given)

    monkeypatch.setattr(perturbation, "answers", small)
    found = numbers(scores_of(explained_by(1, 16, said)))
    assert list(dict.fromkeys(sizes)) == [16, 8, 4]
    assert said[-1] == "8 changed images at a time do not fit into the memory: 4 from here"
    monkeypatch.undo()
    wanted = numbers(scores_of(explained_by(1, 8)))
    np.testing.assert_allclose(found, wanted, atol=1e-5)

    def never(*_, **__):
        raise jax.errors.JaxRuntimeError("RESOURCE_EXHAUSTED: out of memory")

    monkeypatch.setattr(perturbation, "answers", never)
    with pytest.raises(ValueError, match="one image of 24 px does not fit .*--config.scores=False"):
        scores_of(explained_by(1, 2, said))


@pytest.fixture(scope="module")
def cheap(base, tmp_path_factory):
    """Random maps of the clinic's test images, scored; `compare` has Grad-CAM's, too."""
    folder = tmp_path_factory.mktemp("cheap")
    config = config_of(base / "runs" / "ss", method="grad_cam", compare=("random",))
    assert task.start(config, str(folder)) == 0
    return config, folder


def read(folder, name):
    return pd.read_csv(folder / "saliency" / f"{name}.csv")


def text_of(folder):
    return " ".join(html.unescape((folder / "saliency" / "saliency.html").read_text()).split())


def test_unsure_answers_are_left_out_of_the_means(cheap, tmp_path, monkeypatch):
    config, folder = cheap
    shutil.copytree(folder, tmp_path / "copy")
    images = read(folder, "images").query("method == 'grad_cam'").sort_values("probability")
    assert "All 6 images count, whatever probability" in text_of(folder)
    assert (read(folder, "scores")["n"] == 6).all()
    least = float(images["probability"].iloc[1:3].mean())  # two are below

    def never(*_):
        raise AssertionError("scored again")

    monkeypatch.setattr(perturbed_predictions.Perturbed, "answers", never)
    config = config.copy_and_resolve_references()
    config.score.least_probability = least
    assert task.start(config, str(tmp_path / "copy")) == 0
    means = read(tmp_path / "copy", "scores")
    assert (means["n"] == 4).all()
    every = read(tmp_path / "copy", "images")
    assert len(every) == 12 and every["insertion"].notna().all()
    for one in means.itertuples():
        own = every[(every["method"] == one.method) & (every["probability"] >= least)]
        assert one.mean == pytest.approx(own[one.score].mean(), rel=1e-4)
    page = text_of(tmp_path / "copy")
    assert "4 of 6 images count: those to whose explained class" in page
    assert f"at least {number(least)} (InputIBA's authors have .60); 2 are left out" in page
    assert re.search(r"better than random maps cannot be said of [234] patients: 6 are", page)
    curve = read(tmp_path / "copy", "sensitivity_n")
    assert list(curve) == ["method", "n", "mean", "low", "high", "images"]
    assert (curve["images"] == 4).all() and set(curve["n"]) == {2, 22, 204}
    by_method = means[means["score"] == "sensitivity_n"].set_index("method")["mean"]
    for method, part in curve.groupby("method"):
        assert part["mean"].mean() == pytest.approx(by_method[method], rel=1e-4)
    monkeypatch.setattr(score_tables, "_LEAST_COMPARED", 2)
    assert task.start(config, str(tmp_path / "copy")) == 0
    assert ", over 4 of 6 images (see Scores)." in text_of(tmp_path / "copy")


@pytest.mark.parametrize("kept", [0, 1])
def test_too_few_sure_answers_are_said_in_words(cheap, tmp_path, kept):
    config, folder = cheap
    shutil.copytree(folder, tmp_path / "copy")
    images = read(folder, "images").query("method == 'grad_cam'")
    config = config.copy_and_resolve_references()
    most = float(images["probability"].max()) - 1e-6  # of how the file rounds
    config.score.least_probability = most if kept else 1.0
    assert task.start(config, str(tmp_path / "copy")) == 0
    page = text_of(tmp_path / "copy")
    counting = "1 of 6 images counts: the one to" if kept else "0 of 6 images count: those to"
    assert counting in page
    assert "too few for means, so none are given: two patients are the least" in page
    assert "random maps in" not in page and page.count("<tbody>") == 0
    for name in ("scores", "sensitivity_n"):
        assert not len(read(tmp_path / "copy", name))
    assert read(tmp_path / "copy", "images")["deletion"].notna().all()


def test_an_empty_map_has_no_share_of_any_region_and_is_named(base, tmp_path, monkeypatch):
    photos, made = tmp_path / "photos", baselines.random_map
    (photos / "masks").mkdir(parents=True)
    mask = np.zeros((40, 48), np.uint8)
    mask[10:20, 12:24] = 255
    for path in sorted((base / "photos").glob("acne-[012]-0.png")):
        shutil.copy(path, photos / path.name)
        Image.fromarray(mask).save(photos / "masks" / path.name)
    monkeypatch.setattr(
        baselines, "random_map", lambda *given, **keys: made(*given, **keys).at[0].set(0)
    )
    config = config_of(base / "runs" / "ss", method="random", compare=(), images_per_batch=24)
    config.images = str(photos / "*.png")
    with monkeypatch.context() as patch:  # the first of each device is empty: of the first alone
        one = Mesh(np.array(jax.devices()[:1]), (parallel.AXIS,))
        patch.setattr(parallel, "all_devices", lambda: parallel.Devices(one))
        assert task.start(config, str(tmp_path)) == 0
    found = [json.loads(p.read_text()) for p in sorted(tmp_path.glob("saliency/acne*/random.json"))]
    shares = [record["scores"]["regions"]["lesion"] for record in found]
    assert shares[0][0] is None and found[0]["scores"]["heat_share"] is None
    assert shares[0][1] == pytest.approx(1 / 16, abs=0.02)
    table = read(tmp_path, "regions")
    assert (table["n"] == 2).all() and table["heat"].sum() == pytest.approx(1, abs=1e-4)
    assert table["heat"][0] == pytest.approx(np.mean([shares[1][0], shares[2][0]]), rel=1e-4)
    assert read(tmp_path, "images")["empty"].tolist() == [True, False, False]
    page = text_of(tmp_path)
    assert "1 of 3 maps is empty" in page and "acne-0-0.png): the numbers were drawn so" in page
    assert "Empty maps have no heat and are left out: 1 of 3 by random." in page


def score_settings(config):
    return SaliencySettings.from_config(config).score


def test_the_page_says_which_numbers_are_not_the_authors():
    config = config_of("run", score__masks=32)
    ours = score_definitions.definitions(score_settings(config), 64)
    assert "in 10 steps of 410 px; InputIBA's authors take 10 px a step" in ours["insertion AUC"]
    assert "Gaussian of 1.88 px, 8 sigma wide" in ours["insertion AUC"]
    assert "theirs is of 15 px in a kernel of 29 px" in ours["insertion AUC"]
    assert "Here n is 40, 366 and 3,276 px, with 32 sets each;" in ours["sensitivity-n"]
    assert "42 sizes from 1 to 31,622 px with 100 sets" in ours["sensitivity-n"]
    theirs = dict(pixels_per_step=10, blur_kernel=29, sizes=45, least_n=1, most_n=31622.8)
    config.score.update(theirs | {"masks": 100})
    theirs = score_definitions.definitions(score_settings(config), 512)
    assert "px, as InputIBA's authors do." in theirs["insertion AUC"]
    assert "in a kernel of 29 px, as theirs." in theirs["insertion AUC"]
    assert "with 100 sets each, as InputIBA's authors have it" in theirs["sensitivity-n"]
    smaller = score_definitions.definitions(score_settings(config), 224)["insertion AUC"]
    assert "Gaussian of 6.56 px, in a kernel of 13 px; theirs is" in smaller
