"""SCIN (Ward et al. 2024): photographs of skin conditions that people took of themselves."""

import ast
from pathlib import Path

import pandas as pd

from dermjax.data.importers import folders
from dermjax.data.problems import ManifestError, at_rows

_LABEL = "weighted_skin_condition_label"
_IMAGES = ("image_1_path", "image_2_path", "image_3_path")


def read(folder: Path) -> folders.Raw:
    """scin_cases.csv and scin_labels.csv, in the folder or in dataset/; up to 3 images a case.

    Raises:
        ManifestError: A label that is no dictionary of weights.
    """
    cases, notes = folders.table(
        folder, ["scin_cases.csv", "dataset/scin_cases.csv"], ["case_id", _IMAGES[0]]
    )
    labels, more = folders.table(
        folder, ["scin_labels.csv", "dataset/scin_labels.csv"], ["case_id", _LABEL]
    )
    photos = folders.photos(folder, ["dataset/images", "images"])
    label, undecided = _heaviest(labels)
    cases = cases.assign(label=folders.looked_up(cases["case_id"], label, "case_id", "label"))
    present = [name for name in _IMAGES if name in cases]
    raw = pd.concat(
        [
            pd.DataFrame(
                {
                    "row": cases["row"],
                    # The ids are signed numbers: -123 and 123 are two photographs.
                    "image": folders.located([Path(name).name for name in cases[place]], photos),
                    "label": cases["label"],
                    "patient": cases["case_id"],
                    **folders.kept(
                        cases,
                        {
                            "fitzpatrick_skin_type": "skin_type",
                            "age_group": "age",
                            "sex_at_birth": "sex",
                        },
                    ),
                }
            )[cases[place] != ""]
            for place in present
        ]
    )
    # One case after the other, as in the table.
    raw = raw.sort_values("row", kind="stable", ignore_index=True)
    return raw, notes + more + [
        "SCIN has no patient ids: grouped by case; labels are each case's heaviest condition"
        + (f", {undecided} cases with several heaviest count as unlabelled" if undecided else "")
    ]


def _heaviest(table: pd.DataFrame) -> tuple[pd.DataFrame, int]:
    """The condition of most weight of each case, '' where there is none; how many are undecided."""
    label, wrong, undecided = [], [], 0
    for row, text in zip(table["row"], table[_LABEL], strict=True):
        weights = _weights(text)
        if weights is None:
            wrong.append(row)
            weights = {}
        most = max(weights.values(), default=0)
        top = [name for name, weight in weights.items() if weight == most]
        undecided += len(top) > 1
        label.append(top[0] if len(top) == 1 else "")
    if wrong:
        raise ManifestError(
            "scin_labels.csv",
            [
                at_rows(
                    wrong,
                    f"{_LABEL} is no dictionary such as {{'Eczema': 0.67}}",
                    table.loc[table["row"].isin(wrong), "case_id"],
                )
            ],
        )
    return pd.DataFrame({"case_id": table["case_id"], "label": label}), undecided


def _weights(text: str) -> dict[str, float] | None:
    """The dictionary that the text is; None if it is not one."""
    try:
        weights = ast.literal_eval(text) if text else {}
        return {str(name): float(weight) for name, weight in weights.items()}
    except (ValueError, SyntaxError, AttributeError, TypeError):
        return None
