"""Cells that mean one subgroup are counted together, in order, and nothing is lost or hidden."""

import collections

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dermjax.data import measured_values, subgroup_values

AGES = [str(age) for age in np.random.default_rng(0).integers(1, 89, 599)]
DECADES = [f"{low}-{low + 9}" for low in range(0, 90, 10)]
UNKNOWN = subgroup_values.UNKNOWN


def counted(values):
    return collections.Counter(subgroup_values.group(values).names.tolist())


def told(values):
    return " ".join(subgroup_values.group(values).notes)


# --- ages ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "odd",
    ["unknown", "?", "n/a", "NaN", "-", "unbekannt", "#REF!", "Not known", "不明"],
)
def test_an_age_that_is_not_known_is_unknown_and_the_others_stay_in_decades(odd):
    found = subgroup_values.group([*AGES, odd, "", " "])
    assert list(found.order) == [*DECADES, UNKNOWN]
    assert counted([*AGES, odd, "", " "])[UNKNOWN] == 3
    assert found.notes == (f"{UNKNOWN} holds “{odd}” (1)",)


@pytest.mark.parametrize(
    "written, decade",
    [
        *[("34 years", "30-39"), ("34y", "30-39"), ("34 J.", "30-39"), ("34 ans", "30-39")],
        *[("6 months", "0-9"), ("18 Monate", "0-9"), ("130 months", "10-19"), ("3 wk", "0-9")],
        *[("<1", "0-9"), ("30-40", "30-39"), ("30 – 34", "30-39"), ("40s", "40-49")],
        *[("ca. 40", "40-49"), ("~ 40", "40-49"), ("３４", "30-39"), ("34.5", "30-39")],
        *[("34,5", "30-39"), ("34 岁", "30-39"), ("50 to 59 years", "50-59")],
    ],
)
def test_an_age_that_is_written_otherwise_lies_in_its_decade(written, decade):
    alone, both = counted(AGES), counted([*AGES, written])
    assert both - alone == {decade: 1} and list(both) == list(alone)
    if not written.replace(".", "").replace(",", "").isdigit():
        assert f"{decade} holds “{written}” (1)" in told([*AGES, written])


@pytest.mark.parametrize("written", ["90+", "90 and over", ">90", "≥ 90", "90 plus", "90 or older"])
def test_an_open_end_makes_the_last_decade_open(written):
    found = subgroup_values.group([*AGES, written, "95", "104"])
    assert list(found.order) == [*DECADES, "90+"]
    assert counted([*AGES, written, "95", "104"])["90+"] == 3


def test_an_open_end_that_would_swallow_the_column_stays_alone():
    found = subgroup_values.group([*AGES, "18+"])
    assert set(found.order) == {*DECADES, "18+"}
    assert found.order.index("18+") == 2  # behind 10-19


@pytest.mark.parametrize("odd", ["child", "25-35", "<18", "2 mm", "999", "1957"])
def test_what_fits_no_decade_is_one_subgroup_more(odd):
    assert len(counted([*AGES, odd])) == len(DECADES) + 1
    assert set(DECADES) < set(counted([*AGES, odd]))


def test_all_odd_ages_at_once():
    odd = ["unknown", "90+", "?", "95", "34 years", "6 months", "<1", "30-40", "", "n/a", "child"]
    assert list(subgroup_values.group([*AGES, *odd]).order) == [*DECADES, "90+", "child", UNKNOWN]


def test_clean_ages_are_binned_and_nothing_is_told():
    ages = [*map(str, range(5, 105, 5)), "37.5", "", " "]
    found = subgroup_values.group(ages)
    assert found.names[0] == "0-9" and found.names[-3] == "30-39"
    assert found.order == (*[f"{low}-{low + 9}" for low in range(0, 110, 10)], UNKNOWN)
    assert found.notes == ()


def test_one_far_number_does_not_make_the_bins_wider():
    assert set(DECADES) < set(counted([*AGES, "123456"]))


def test_bins_have_the_unit_that_all_numbers_have():
    assert list(counted([f"{i} mm" for i in range(1, 15)])) == ["0-9 mm", "10-19 mm"]
    assert "0-9 months" in counted([f"{i} months" for i in range(1, 40)])
    assert told([f"{i} mm" for i in range(1, 15)]) == ""


def test_small_numbers_are_not_all_in_one_bin():
    found = subgroup_values.group([f"{i / 100}" for i in range(10, 60)])
    assert found.order[:2] == ("0.1 to <0.2", "0.2 to <0.3") and len(found.order) == 5


@given(st.lists(st.integers(-1000, 10**6), min_size=11, unique=True))
def test_every_number_lies_in_its_bin_and_bins_are_few(numbers):
    found = subgroup_values.group([str(number) for number in numbers])
    assert len(found.order) <= 21
    for number, name in zip(numbers, found.names, strict=True):
        if " to <" in name:
            low, high = map(float, name.split(" to <"))
            assert low <= number < high
        elif "-" in name[1:]:
            low, high = map(int, (name[: name.index("-", 1)], name[name.index("-", 1) + 1 :]))
            assert low <= number <= high


def test_few_numbers_are_categories_in_order():
    assert subgroup_values.group(["10", "2", "?", "2.0", "2"]).order == ("2", "10", UNKNOWN)
    assert "2 holds “2.0” (1)" in told(["10", "2", "?", "2.0", "2"])
    assert counted(["1", "0", "1", ""]) == {"1": 2, "0": 1, UNKNOWN: 1}
    bins = ["30-40", "40-50", "50+", "<30"]
    assert subgroup_values.group(bins).order == ("<30", "30-40", "40-50", "50+")


# --- sexes, skin types, words -------------------------------------------------------------------


def test_whole_numbers_have_no_fraction():
    """Programs write 2.0 for 2 in a column with empty cells: it is no other spelling."""
    types = subgroup_values.group(["2.0", "3.0", "", "2.0", "1.0"])
    assert types.order == ("1", "2", "3", UNKNOWN) and not types.notes
    assert subgroup_values.group(["2.0", "2.5", "2.5"]).order == ("2", "2.5")
    assert subgroup_values.group(["b 2.0", "a"]).order == ("a", "b 2.0")


def test_spellings_of_a_sex_are_one_subgroup_and_told():
    values = ["f"] * 5 + [
        "F",
        "female",
        "Female ",
        "weiblich",
        "w",
        "m",
        "MALE",
        "männlich",
        "U",
        "",
    ]
    assert counted(values) == {"female": 10, "male": 3, UNKNOWN: 2}
    for written in ("“f” (5)", "“F” (1)", "“weiblich” (1)", "“w” (1)", "“MALE” (1)", "“U” (1)"):
        assert written in told(values)


@pytest.mark.parametrize(
    "values", [["f", "m"], ["Female", "Male"], ["weiblich", "männlich", "divers"], ["女", "男"]]
)
def test_one_spelling_each_stays_as_it_is(values):
    assert set(counted(values * 3)) == set(values) and told(values * 3) == ""


def test_a_misspelled_sex_does_not_keep_the_others_apart():
    values = ["female"] * 20 + ["f"] * 5 + ["m"] * 5 + ["femlae"]
    assert counted(values) == {"female": 25, "male": 5, "femlae": 1}


@pytest.mark.parametrize("values", [["f", "m", "w"], ["face", "f", "m"], ["d", "x"], ["1", "0"]])
def test_what_may_be_no_sex_is_left_alone(values):
    assert set(counted(values)) == set(values)


def test_skin_types_are_one_each_and_in_order():
    values = [
        "VI",
        "3",
        "III",
        "FST 3",
        "Fitzpatrick iii",
        "skin type 2",
        "I",
        "III-IV",
        "3.0",
        "?",
    ]
    found = subgroup_values.group(values)
    assert found.order == ("I", "II", "III", "III-IV", "VI", UNKNOWN)
    assert counted(values)["III"] == 5 and "“FST 3” (1)" in told(values)
    assert subgroup_values.group(["6", "1", "2"]).order == ("1", "2", "6")
    assert subgroup_values.group(["VI", "IV", "V"]).order == ("IV", "V", "VI")
    assert subgroup_values.group(["type 4", "type 1"]).order == ("type 1", "type 4")


def test_words_are_one_whatever_their_case_spaces_and_unicode_form():
    values = ["lower leg", "Lower Leg", "lower_leg", "lower\u200b leg", " lower  leg", "arm"]
    assert counted(values) == {"lower leg": 5, "arm": 1}
    assert counted(["Rücken", "Ru\u0308cken", "Rücken"]) == {"Rücken": 3}
    sites = [f"site {n}" for n in range(30)] + ["7"]
    assert set(counted(sites)) == set(sites)


CELLS = st.one_of(
    st.text(max_size=8),
    st.sampled_from(["90+", "?", "f", "F", "female", "III", "3", "<1", "6 months", "(unknown)"]),
    st.integers(-5, 110).map(str),
)


@given(st.lists(CELLS, max_size=40))
def test_every_cell_has_one_subgroup_whatever_the_order(cells):
    found = subgroup_values.group(cells)
    assert len(found.names) == len(cells) and set(found.names) == set(found.order)
    assert len(set(found.order)) == len(found.order)
    backwards = subgroup_values.group(cells[::-1])
    assert backwards.order == found.order and backwards.names.tolist() == found.names.tolist()[::-1]
    again = dict(zip(cells, found.names, strict=True))
    assert all(again[cell] == name for cell, name in zip(cells, found.names, strict=True))


@given(st.floats(0, 1e4), st.sampled_from(["", "y", " years", " mm"]))
def test_numbers_are_read_as_they_are_written(number, unit):
    found = measured_values.parse(f"{number:.3f}{unit}")
    assert found.low == found.high == pytest.approx(number, abs=1e-3)
    assert found.unit == unit.strip()


def test_words_are_no_numbers():
    for text in ("", "child", "type 3", "a1", "3 of 4", "12:30", "2020-01-31", "40-30"):
        assert measured_values.parse(text) is None
    ends = {"<5": (-np.inf, 5), "90+": (90, np.inf), "3-4": (3, 4), "<=5 y": (-np.inf, 5)}
    for text, bounds in ends.items():
        found = measured_values.parse(text)
        assert (found.low, found.high) == bounds
