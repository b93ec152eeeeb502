"""What the command finds out of its maps' noise, and of networks whose layers are drawn anew."""

import json

import jax
import numpy as np
import pandas as pd
import pytest
from scipy import stats

from dermjax.cli import task
from dermjax.saliency import explainer, map_store, randomisation, repeatability, similarity
from tests.saliency.test_explain import CHEAP, arrays, config_of, records

pytestmark = pytest.mark.slow

LAYERS = (
    "classifier", "bn2", "conv_head", "blocks_1_1", "blocks_1_0", "blocks_0_0", "bn1", "conv_stem",
)  # fmt: skip
ROWS = ["other noise", "classifier", "blocks_1_0", "conv_stem"]


def command(base, folder, **fields):
    given = dict(per_class=1, compare=("grad_cam",), sanity__layers=3, sanity__images=2)
    few = dict(input_iba__steps_feature=3, input_iba__steps_input=6, input_iba__draws=2)
    config = config_of(base / "runs" / "ss", **given | few | fields)
    assert task.start(config, str(folder)) == 0
    return folder / "saliency"


def spied(patch):
    """Calls of `Explainer.maps` as (method, first, variables, statistics, maps of each sample)."""
    made, calls = explainer.Explainer.maps, []

    def spy(self, method, samples, targets, statistics, *, variables=None, first=0):
        given = method, samples, targets, statistics
        found = list(made(self, *given, variables=variables, first=first))
        calls.append((method, first, variables, statistics, np.stack(found)))
        return iter(found)

    patch.setattr(explainer.Explainer, "maps", spy)
    return calls


@pytest.fixture(scope="module")
def done(base, tmp_path_factory):
    """A folder and what was computed for it."""
    with pytest.MonkeyPatch.context() as patch:
        calls = spied(patch)
        folder = command(base, tmp_path_factory.mktemp("trusted"))
    return folder, calls


def rows_of(folder, method):
    """Row -> `[images, 2]`: Spearman, SSIM."""
    found = json.loads((folder / f"sanity-{method}.json").read_text())["rows"]
    return {row: np.array(values, float) for row, values in found.items()}


@pytest.mark.parametrize(
    ("patients", "low", "said"),
    [
        (6, -0.02, "NOT told apart from noise and should not be read"),
        (6, 0.01, "SSIM .30."),
        (1, float("nan"), "more than noise cannot be said of 1 patient."),
        (4, float("nan"), "more than noise cannot be said of 4 patients."),
    ],
)
def test_maps_that_do_not_repeat_themselves_are_called_noise(patients, low, said):
    row = {"method": "input_iba", "repeats": 2, "n": 9, "patients": patients}
    row |= {"spearman": 0.02, "spearman_low": low, "spearman_high": 0.1}
    row |= {"ssim": 0.3, "ssim_low": 0.1, "ssim_high": 0.4}
    (told,) = repeatability.finding(pd.DataFrame([row]), "input_iba")
    assert told.endswith(said if said.endswith(".") else f"{said}.") and "Spearman .02" in told


def test_a_map_is_the_mean_of_its_repeats_whose_halves_are_compared(done):
    folder, calls = done
    made = next(maps for method, first, *_, maps in calls if method == "input_iba")
    kept_maps = list(arrays(folder, "input_iba").values())
    assert made.shape[1] == 2 and len(kept_maps) == len(made) == 3
    alike = {record["image"]: record["repeatability"] for record in records(folder)}
    found = []
    for pair in made:
        assert any(np.abs(pair.mean(0) - heat).max() < 1e-6 for heat in kept_maps)
        found.append((stats.spearmanr(*pair.reshape(2, -1)).statistic, similarity.ssim(*pair)))
    told = sorted((of["spearman"], of["ssim"]) for of in alike.values())
    np.testing.assert_allclose(told, sorted(found), atol=1e-5)
    (row,) = pd.read_csv(folder / "repeatability.csv").to_dict("records")
    assert (row["method"], row["repeats"], row["n"]) == ("input_iba", 2, 3)
    assert row["ssim"] == pytest.approx(np.mean([ssim for _, ssim in found]), abs=1e-4)
    assert row["patients"] == 3 and np.isnan(row["spearman_low"])  # too few for an interval
    page = (folder / "saliency.html").read_text()
    assert "are means over 2 noises, which agree by Spearman" in page
    assert "repeatability" not in records(folder, "grad_cam")[0]


def test_halves_of_maps():
    rng = np.random.default_rng(0)
    five = rng.uniform(size=(5, 9, 9)).astype(np.float32)
    first, second = five[:2].mean(0), five[2:4].mean(0)
    found = repeatability.repeatability(five, "input_iba")
    assert found["ssim"] == pytest.approx(similarity.ssim(first, second), abs=1e-6)
    assert found["spearman"] == pytest.approx(
        stats.spearmanr(first.ravel(), second.ravel()).statistic, abs=1e-6
    )
    assert repeatability.repeatability(five[:1], "input_iba") is None
    flat = repeatability.repeatability(np.zeros((2, 9, 9), np.float32), "input_iba")
    assert flat == {"spearman": None, "ssim": 1.0}


@pytest.mark.filterwarnings("ignore:An input array is constant")  # then there are no ranks
def test_layers_are_drawn_anew_for_the_shown_method_and_grad_cam(done):
    folder, calls = done
    table = pd.read_csv(folder / "sanity.csv")
    assert list(table["row"]) == ROWS * 2 and list(table["randomised"]) == [0, 1, 5, 8] * 2
    assert (
        list(table["method"].unique()) == ["input_iba", "grad_cam"] and (table["ssim_n"] == 2).all()
    )
    for method in ("input_iba", "grad_cam"):
        own = [call for call in calls if call[0] == method]
        shown, *again = own
        assert len(again) == 4 and [call[1] for call in again] == [shown[4].shape[1], 0, 0, 0]
        # The images are the first and the last of three.
        before = shown[4][[0, -1]].mean(1)
        for row, call in zip(ROWS, again, strict=True):
            wanted = []
            for pair in zip(before, call[4].mean(1), strict=True):
                ranks = stats.spearmanr(*(one.ravel() for one in pair)).statistic
                wanted.append(
                    (ranks, similarity.ssim(*(map_store.visible(one, method) for one in pair)))
                )
            np.testing.assert_allclose(rows_of(folder, method)[row], wanted, atol=1e-5)
            of = table[(table["method"] == method) & (table["row"] == row)]
            means = of[["spearman", "ssim"]].to_numpy()[0]
            np.testing.assert_allclose(means, np.nanmean(wanted, 0), atol=1e-4)
            assert of["spearman_n"].item() == np.isfinite(np.array(wanted)[:, 0]).sum()
    assert rows_of(folder, "grad_cam")["other noise"] == pytest.approx(1, abs=1e-3)
    assert np.nanmax(rows_of(folder, "grad_cam")["conv_stem"]) < 0.95


def test_the_networks_are_those_of_the_cascade_and_their_statistics_their_own(done):
    _, calls = done
    networks = [call for call in calls if call[0] == "input_iba"][2:]
    trained = [call for call in calls if call[0] == "input_iba"][0]
    *_, last = networks
    for (_, _, variables, statistics, _), depth in zip(networks, (1, 5, 8), strict=True):
        for i, layer in enumerate(LAYERS):
            new = variables["params"][layer], last[2]["params"][layer]
            equal = jax.tree.map(np.array_equal, *new)
            assert all(jax.tree.leaves(equal)) or i >= depth
        assert set(variables) == {"params", "batch_stats"}
        # The layer of the bottleneck lies in blocks_1_1 and behind.
        same = np.allclose(statistics.mean, trained[3].mean, atol=1e-6)
        assert same == (depth == 1)
    kernels = [call[2]["params"]["conv_stem"]["kernel"] for call in networks]
    assert np.abs(kernels[0] - kernels[2]).max() > 0.01  # trained against drawn
    moments = last[2]["batch_stats"]["bn1"]
    assert (moments["mean"] == 0).all() and (moments["var"] == 1).all()


def test_the_page_says_what_was_found(done):
    page = (done[0] / "saliency.html").read_text()
    assert "Layers drawn anew" in page and "5 of 8, down to blocks_1_0" in page
    assert page.count("by a network drawn wholly anew against") == 2
    assert page.count("has learned cannot be said of 2 patients (5 are the least)") == 2
    assert "authors keep those of the trained network" in page


def test_rows_are_kept_and_only_missing_ones_are_made(base, tmp_path, monkeypatch):
    fields = CHEAP | {"scores": True}
    folder = command(base, tmp_path, **fields)
    before = rows_of(folder, "grad_cam")
    calls = spied(monkeypatch)
    command(base, tmp_path, **fields)
    assert not calls
    command(base, tmp_path, **fields, sanity__layers=4)
    assert len(calls) == 2  # two rows between the first and the last
    after = rows_of(folder, "grad_cam")
    assert len(after) == 6
    for row, values in before.items():
        np.testing.assert_array_equal(after[row], values)
    assert len(pd.read_csv(folder / "sanity.csv")) == 5
    calls.clear()
    command(base, tmp_path, **fields, seed=1)
    assert len(calls) == 5  # the maps, the floor and three rows
    command(base, tmp_path, **fields, sanity__images=0)
    assert not (folder / "sanity.csv").exists()
    assert "Layers drawn anew" not in (folder / "saliency.html").read_text()


def test_a_kill_loses_one_row(base, tmp_path, monkeypatch):
    fields, add, count = CHEAP | {"scores": True}, randomisation._Known.add, [0]

    def killed(self, *given):
        count[0] += 1
        if count[0] == 3:
            raise KeyboardInterrupt
        add(self, *given)

    monkeypatch.setattr(randomisation._Known, "add", killed)
    with pytest.raises(KeyboardInterrupt):
        command(base, tmp_path, **fields)
    assert list(rows_of(tmp_path / "saliency", "grad_cam")) == ROWS[:2]
    folder = command(base, tmp_path, **fields)
    assert count[0] == 3 + 2 and list(rows_of(folder, "grad_cam")) == ROWS


def test_maps_that_do_not_need_the_network_are_named(base, tmp_path):
    many = {"per_class": 2, "sanity__images": 6}
    folder = command(base, tmp_path, **CHEAP | {"method": "random", "scores": True} | many)
    found = rows_of(folder, "random")
    assert all(found[row] == pytest.approx(1) for row in ROWS[1:])
    assert found["other noise"].max() < 0.3
    page = (folder / "saliency.html").read_text()
    assert "Maps by random are NOT" in page and "random numbers" in page
    assert "Maps by random depend on" not in page


def test_of_one_noise_repeatability_is_unknown_and_more_make_new_maps(base, tmp_path):
    fields = CHEAP | {"method": "iba"}
    folder = command(base, tmp_path, **fields, repeats=1)
    page = (folder / "saliency.html").read_text()
    assert "with other noise is unknown: each is of one noise" in page
    assert "repeatability" not in records(folder, "iba")[0]
    single = arrays(folder, "iba")
    command(base, tmp_path, **fields, repeats=2)
    assert all("repeatability" in record for record in records(folder, "iba"))
    assert all(
        np.abs(heat - single[name]).max() > 0 for name, heat in arrays(folder, "iba").items()
    )
    # What a kill between the map and its repeatability leaves.
    path = sorted(folder.glob("*/iba.json"))[0]
    record = json.loads(path.read_text())
    known = record.pop("repeatability")
    path.write_text(json.dumps(record))
    command(base, tmp_path, **fields, repeats=2)
    assert json.loads(path.read_text())["repeatability"] == pytest.approx(known, abs=1e-4)


def findings_of(patients="abcdef", **methods):
    """Sentences by method of (Spearman by image, SSIM by image) in both rows."""
    found = {}
    for method, (noise, last) in methods.items():
        rows = {"other noise": noise, "conv_stem": last}
        found[method] = {
            row: [list(pair) for pair in zip(*of, strict=True)] for row, of in rows.items()
        }
    return randomisation.findings(randomisation.Checked(list(patients), ["conv_stem"], found))


def test_the_finding_compares_with_the_noise_of_the_method():
    """Not with 1: a method whose noise changes its maps as much shows nothing."""
    high, low = [0.8, 0.7, 0.9, 0.8, 0.7, 0.75], [0.1, 0.2, 0.1, 0.3, 0.2, 0.12]
    nothing = [0.2, 0.1, 0.3, 0.2, 0.1, 0.3]

    def told(noise, last, patients="abcdef"):
        (line,) = findings_of(patients, iba=(noise, last))
        return line

    assert "IBA depend on what the network has learned:" in told((high, high), (low, low))
    assert "learned by Spearman only:" in told((high, high), (low, high))
    assert "learned by SSIM only:" in told((nothing, high), (nothing[::-1], low))
    assert "are NOT shown to depend" in told((low, nothing), (low[::-1], nothing[::-1]))
    assert "are NOT shown to depend" in told((low, low), (high, high))
    around_zero = [0.01, -0.02, 0.02, -0.01, 0.01, -0.01]
    assert "are NOT told apart from noise" in told((around_zero, high), (around_zero, low))
    one_unknown = ([0.6, None, 0.7, 0.8, 0.7, 0.7], high), ([0.1, 0.1, 0.2, 0.3, 0.2, 0.2], low)
    assert "Spearman .20 against .70 (fall +.50, " not in told(*one_unknown)
    assert "Spearman .20 against .70" in told(*one_unknown)


def test_of_few_patients_nothing_is_said_of_the_weights():
    """Six images of two patients are two patients; the likenesses are told all the same."""
    high, low = [0.8, 0.7, 0.9, 0.8, 0.7, 0.9], [0.1, 0.2, 0.1, 0.3, 0.2, 0.3]
    for patients, people in (("aaaaaa", "1 patient "), ("aabbab", "2 patients "), ("abcdda", "4 ")):
        (line,) = findings_of(patients, iba=((high, high), (low, low)))
        assert (
            f"has learned cannot be said of {people}" in line and "Spearman .20 against .80" in line
        )


def test_of_methods_without_noise_only_the_fall_counts():
    """The same map again is wholly like itself: no interval, and no sign of noise either."""
    same, low = [1.0] * 6, [0.1, 0.2, 0.1, 0.3, 0.2, 0.12]
    (line,) = findings_of(grad_cam=((same, same), (low, low)))
    assert "Grad-CAM depend on what the network has learned:" in line
    flat = [None] * 6  # maps that are the same everywhere have no ranks
    (line,) = findings_of(grad_cam=((same, same), (flat, low)))
    assert "learned by SSIM only:" in line and "Spearman – against –, " in line


def test_means_of_ranks_over_fewer_images_are_named():
    """A map that is the same everywhere has none; the caption is of all images."""
    rows = {
        "other noise": [[0.8, 0.8]] * 6,
        "conv_stem": [[0.1, 0.2], [None, 0.2], *[[0.3, 0.1]] * 4],
    }
    checked = randomisation.Checked(list("abcdef"), ["conv_stem"], {"grad_cam": rows})
    caption = randomisation.table(checked, randomisation.summarise(checked)).caption
    assert "mean over 6 images" in caption and "5 for Grad-CAM down to conv_stem." in caption
    rows["conv_stem"][1][0] = 0.2
    caption = randomisation.table(checked, randomisation.summarise(checked)).caption
    assert "fewer images" not in caption


def test_what_depends_on_the_weights_is_corrected_for_methods_and_measures():
    """Of four tests without any effect one would be said to show something in 18 % of pages."""
    rng, wrong = np.random.default_rng(0), 0
    for _ in range(150):
        rows = [tuple(rng.beta(4, 4, (2, 6))) for _ in range(4)]
        lines = findings_of(input_iba=rows[:2], grad_cam=rows[2:])
        wrong += any(" depend on what" in line and "NOT" not in line for line in lines)
    assert wrong <= 11  # of 150: the 99th percentile at 4 %, as a fall is looked for, not a rise


@pytest.mark.parametrize(("items", "count", "wanted"), [
    ("abcdefgh", 3, "aeh"), ("abcdefgh", 1, "a"), ("abc", 9, "abc"), ("abc", 0, ""), ("", 4, ""),
])  # fmt: skip
def test_items_are_taken_evenly(items, count, wanted):
    assert "".join(randomisation.evenly(items, count)) == wanted


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"sanity__images": -1}, "config.sanity.images = -1, but it must be at least 0"),
        ({"sanity__layers": 1}, "config.sanity.layers = 1, but it must be at least 2"),
        ({"repeats": 0}, "config.repeats = 0, but it must be at least 1"),
    ],
)
def test_mistakes_are_named(base, tmp_path, fields, message):
    with pytest.raises(ValueError, match=message):
        task.start(config_of(base / "runs" / "ss", **fields), str(tmp_path))
