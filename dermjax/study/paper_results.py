"""The paper's own numbers (Kramer et al., JEADV 2022), to stand beside a study of its classes."""

import importlib.resources
import re

import numpy as np
import pandas as pd

STRATEGIES = ("SS", "IN", "FS")
# Printed in the text; the means over classes follow from Table 1.
_ACCURACY = {("IN", 1.0): 0.955, ("SS", 1.0): 0.957, ("FS", 1.0): 0.904, ("SS", 0.1): 0.877}


def table_one() -> pd.DataFrame:
    """Table 1: disease, metric (precision, sensitivity), alpha, and a column per strategy."""
    with importlib.resources.files("dermjax.study").joinpath("paper_table1.csv").open() as file:
        return pd.read_csv(file)


def overall() -> pd.DataFrame:
    """Strategy, alpha, accuracy (NaN where it is not printed) and the two macro means."""
    means = table_one().groupby(["metric", "alpha"])[[*STRATEGIES]].mean()
    return pd.DataFrame(
        [
            {
                "strategy": strategy,
                "alpha": alpha,
                "accuracy": _ACCURACY.get((strategy, alpha), np.nan),
                "macro_precision": means.loc[("precision", alpha), strategy],
                "macro_sensitivity": means.loc[("sensitivity", alpha), strategy],
            }
            for strategy in STRATEGIES
            for alpha in sorted(set(table_one()["alpha"]))
        ]
    )


def are_its_classes(names) -> bool:
    """Whether a data set has the paper's ten diseases, however they are written."""
    return {_plain(name) for name in names} == {_plain(name) for name in table_one()["disease"]}


def _plain(name: str) -> str:
    """Letters only, without what some writers leave out."""
    words = re.sub(r"[\W_]+", " ", str(name).lower()).replace("annulare", "anulare").split()
    return "".join(word for word in words if word not in ("vulgaris", "cutaneous"))
