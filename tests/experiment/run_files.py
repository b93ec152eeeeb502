"""A run's files, read, and the config of a run on the clinic that tests share."""

import csv
import json
import pathlib

from tests.experiment.clinic import tiny_config


def read_csv(path):
    with pathlib.Path(path).open(newline="") as file:
        return list(csv.DictReader(file))


def read_lines(path):
    return [json.loads(line) for line in pathlib.Path(path).read_text().splitlines()]


def read_results(folder):
    return json.loads((pathlib.Path(folder) / "results.json").read_text())


def config_of(base, strategy="SS", **fields):
    return tiny_config(strategy, base / "photos.csv", **fields)
