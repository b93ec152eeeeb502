"""The audit finds what makes results wrong, and counts it as NumPy or a reader would."""

import dataclasses
import json
import os
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from dermjax.audit import checks
from dermjax.cli import audit as command
from dermjax.data import layouts
from tests.data.miniatures import write_photo

SHARED = Path(os.environ.get("DERMJAX_SHARED", Path(__file__).parents[2] / ".." / "shared"))


@pytest.fixture
def clinic(tmp_path):
    """A writer of a table with 24 photographs of 12 patients, and further rows."""
    folder = tmp_path / "clinic"
    rows = []
    for index in range(24):
        write_photo(folder / f"{index}.png", index, (40 + index, 30))
        age = "" if index == 5 else f"{20 + 2 * index}.0"
        rows.append(
            f"{index}.png,{('acne', 'rosacea')[index // 2 % 2]},p{index // 2},,"
            f"{age},{('f', 'm', '')[index % 3]}"
        )

    def write(*more):
        header = "image,label,patient,split,age,sex"
        (folder / "t.csv").write_text("\n".join([header, *rows, *more]))
        return folder / "t.csv"

    return write


def audited(table, tmp_path, *flags):
    """(exit status, report)."""
    status = command.main([str(table), f"--out={tmp_path / 'audit'}", *flags])
    return status, json.loads((tmp_path / "audit" / "audit.json").read_text(encoding="utf-8"))


def kinds(report):
    return {found["kind"]: found for found in report["findings"]}


def test_a_clean_table_has_counts_and_nothing_to_refuse(clinic, tmp_path, capsys):
    status, report = audited(clinic(), tmp_path)
    assert status == 0 and not report["problems"]
    assert {found["severity"] for found in report["findings"]} == {"info"}
    assert report["images"]["files"] == report["images"]["rows"] == 24
    assert report["images"]["groups"] == 12
    assert report["images"]["modes"] == {"PNG RGB": 24}
    patients = {"known": 12, "rows_of_one": {"median": 2, "most": 2}, "rows_unknown": 0}
    assert report["images"]["patients"] == patients
    assert report["images"]["lesions"] == {"known": 0, "rows_of_one": None, "rows_unknown": 24}
    assert report["images"]["width_px"] == {"least": 40, "median": 51.5, "most": 63}
    assert report["columns"]["sex"] == {"(unknown)": 8, "f": 8, "m": 8}
    ages = report["columns"]["age"]
    assert sum(ages.values()) == 24 and ages["(unknown)"] == 1 and ages["20-29"] == 5
    for sets in report["classes"].values():
        assert set(sets) == {"train", "validation", "test", "all"}
        whole = sets.pop("all")
        assert sum(part["rows"] for part in sets.values()) == whole["rows"] == 12
        assert whole["groups"] == 6 and whole["share"] == 0.5
    shares = [sets["train"]["share"] for sets in report["classes"].values()]
    assert sum(shares) == pytest.approx(1)
    assert "1 findings, in" in capsys.readouterr().out


def test_what_alpha_leaves_is_what_a_run_keeps(clinic, tmp_path):
    _, report = audited(clinic(), tmp_path)
    whole = report["labelled"]["1"]
    for name, sets in report["classes"].items():
        assert whole[name] == {"rows": sets["train"]["rows"], "groups": sets["train"]["groups"]}
        assert report["labelled"]["0.1"][name]["rows"] == 1


def test_patients_and_files_in_two_sets_are_refused(clinic, tmp_path):
    path = clinic()
    lines = path.read_text().splitlines()
    for row in range(1, 25):
        cells = lines[row].split(",")
        cells[3] = ("train", "validation", "test")[(row - 1) // 4 % 3]
        lines[row] = ",".join(cells)
    lines[2] = lines[2].replace("train", "test")  # the second photograph of p0
    (path.parent / "copy.png").write_bytes((path.parent / "3.png").read_bytes())
    lines.append("copy.png,acne,q,validation,30,f")  # 3.png is a training image of p1, rosacea
    path.write_text("\n".join(lines))
    status, report = audited(path, tmp_path)
    found = kinds(report)
    assert status == 1
    assert [item["severity"] for item in report["findings"]][:2] == ["refuse", "refuse"]
    assert found["patients in two sets"]["count"] == 1
    assert found["patients in two sets"]["rows"] == [2, 3]
    assert found["files in two sets"]["rows"] == [5, 26]
    assert found["identical files of two labels"]["count"] == 1
    assert found["identical files of two patients"]["rows"] == [5, 26]
    assert found["identical files under several names"]["severity"] == "info"
    assert sum("the split leaks" in problem for problem in report["problems"]) == 2


def test_files_that_cannot_be_read_do_not_end_the_audit(clinic, tmp_path):
    path = clinic("gone.png,acne,p99,,1,f")
    (path.parent / "7.png").write_bytes(b"")
    status, report = audited(path, tmp_path)
    assert status == 1 and len(report["problems"]) == 2
    assert report["images"]["files"] == 25 and report["images"]["files_opened"] == 23


def test_classes_of_too_few_patients_are_told_without_sets(clinic, tmp_path):
    status, report = audited(clinic("0.png,rare,p0,,1,f"), tmp_path)
    assert status == 1 and any("no sets can be made" in line for line in report["problems"])
    assert set(report["classes"]["acne"]) == {"(no set)"}


def test_what_is_no_data_set_is_one_line(tmp_path, capsys):
    assert command.main([str(tmp_path / "none"), f"--out={tmp_path / 'audit'}"]) == 2
    assert "no such file or folder" in capsys.readouterr().err
    assert not (tmp_path / "audit" / "audit.json").exists()


def test_the_public_split_leaks_200_lesions_and_ours_none(tmp_path):
    folder = SHARED / "data" / "ham10000_mel_nv"
    if not folder.is_dir():
        pytest.skip("no data/ham10000_mel_nv beside the repository")
    status, report = audited(folder, tmp_path, "--official-split")
    assert status == 1 and kinds(report)["lesions in two sets"]["count"] == 200
    status, report = audited(folder, tmp_path)
    assert status == 0 and "lesions in two sets" not in kinds(report)
    assert kinds(report)["rows without a patient"]["count"] == 1999


def smooth(path, seed, **options):
    """A picture that is still itself when it is saved anew."""
    coarse = np.random.default_rng(seed).integers(0, 255, (21, 28, 3), np.uint8)
    image = Image.fromarray(coarse).resize((240, 180), Image.Resampling.BICUBIC)
    image.save(path, **options)


def test_near_duplicates_are_found_and_stay_in_one_set(clinic, tmp_path):
    path = clinic("one.png,acne,q1,,,", "two.jpg,rosacea,q2,,,", "three.jpg,rosacea,q2,,,")
    for name, quality in (("one.png", None), ("two.jpg", 60), ("three.jpg", 90)):
        smooth(path.parent / name, 7, **({"quality": quality} if quality else {}))
    status, report = audited(path, tmp_path)
    found = kinds(report)
    assert status == 0 and found["near duplicates"]["count"] == 1
    assert found["near duplicates"]["rows"] == [26, 27, 28]
    assert found["near duplicates of two labels"]["severity"] == "warn"
    assert found["near duplicates of two patients"]["rows"] == [26, 27, 28]
    assert "near duplicates in two sets" not in found
    paired = [name for pair in report["alike"] for name in pair["images"]]
    assert set(paired) == {"one.png", "two.jpg", "three.jpg"}
    assert all(pair["taken_for_one"] and pair["bits"] <= 32 for pair in report["alike"])
    assert report["images"]["groups"] == 13  # q1 and q2 are one
    _, report = audited(path, tmp_path, "--near=0")
    assert report["images"]["groups"] == 14 and not report["alike"]
    assert "near duplicates" not in kinds(report)


def test_near_duplicates_in_two_given_sets_are_refused_or_allowed_by_name(clinic, tmp_path):
    path = clinic()
    sets = ["split", *(("train", "validation", "test")[i // 4 % 3] for i in range(24))]
    lines = [
        line.replace(",,", f",{name},", 1) if name != "split" else line
        for line, name in zip(path.read_text().splitlines(), sets, strict=True)
    ]
    path.write_text("\n".join([*lines, "one.png,acne,q1,train,,", "two.jpg,acne,q2,test,,"]))
    smooth(path.parent / "one.png", 7)
    smooth(path.parent / "two.jpg", 7)
    status, report = audited(path, tmp_path)
    assert status == 1 and kinds(report)["near duplicates in two sets"]["severity"] == "refuse"
    (told,) = report["problems"]
    assert told.startswith("rows 26, 27: ") and "near_duplicate:one.png" in told
    assert not any("stay in one set" in note for note in report["notes"])
    status, report = audited(path, tmp_path, "--allow", "near_duplicate:two.jpg")
    assert status == 0 and kinds(report)["near duplicates in two sets"]["severity"] == "allowed"


def test_one_patient_with_most_images_is_told_with_the_sets(clinic, tmp_path):
    path = clinic()
    lines = path.read_text().splitlines()
    lines += [f"more{i}.png,{'acne' if i % 2 else 'rosacea'},p0,,," for i in range(60)]
    for i in range(60):
        smooth(path.parent / f"more{i}.png", 100 + i)
    path.write_text("\n".join(lines))
    _, report = audited(path, tmp_path)
    uneven = [found for found in report["findings"] if found["kind"] == "uneven sets"]
    assert {found["severity"] for found in uneven} == {"warn"}
    assert "patient:p0 has 62 of 84 labelled images" in uneven[0]["text"]
    assert uneven[0]["rows"][:3] == [2, 3, 26] and len(uneven) == 3


def test_what_is_allowed_by_name_is_recorded_and_not_refused(clinic, tmp_path, capsys):
    path = clinic()
    lines = path.read_text().splitlines()
    for row in range(1, 25):
        name = ("train", "validation", "test")[(row - 1) // 4 % 3]
        lines[row] = lines[row].replace(",,", f",{name},", 1)
    for row in (2, 6):  # the second photographs of p0 and p2
        lines[row] = lines[row].replace("train", "test").replace("validation", "train")
    path.write_text("\n".join(lines))
    status, report = audited(path, tmp_path, "--allow", "patient:p0")
    assert status == 1 and len(report["problems"]) == 1
    found = {(item["severity"], item["text"]) for item in report["findings"]}
    assert {("allowed", "1 (p0)"), ("refuse", "1 (p2)")} <= found
    status, report = audited(path, tmp_path, "--allow", "patients")
    assert status == 0 and not report["problems"]
    assert ("allowed", "2 (p0, p2)") in {(f["severity"], f["text"]) for f in report["findings"]}
    assert command.main([str(path), "--allow", "people", f"--out={tmp_path / 'x'}"]) == 2
    assert "allow 'people' names no exception" in capsys.readouterr().err


def test_findings_count_things_not_rows(clinic, tmp_path):
    manifest = layouts.load(clinic(), cache_dir=tmp_path)
    sets = np.where(np.arange(24) % 2, "train", "test")
    torn = dataclasses.replace(manifest, frame=manifest.frame.assign(split=sets))
    (found,) = [f for f in checks.findings(torn, checks.alike(torn)) if f.severity == "refuse"]
    assert (found.kind, found.count, len(found.rows)) == ("patients in two sets", 12, 24)
    assert str(found).startswith("refuse patients in two sets: 12 (p0, p1, p2 ...)")
