"""What a study's report says, read from its files."""

import html
import re

import pandas as pd


def table(folder, name):
    return pd.read_csv(folder / "tables" / f"{name}.csv")


def words(folder):
    text = (folder / "report.html").read_text(encoding="utf-8").split("<body>")[1]
    return html.unescape(re.sub(r"\s+", " ", re.sub(r"<[^>]+>", " ", text)))
