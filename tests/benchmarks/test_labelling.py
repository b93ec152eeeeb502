"""The benchmark of choosing end to end, as a user runs it, on few photographs."""

import json
import pathlib
import re
import subprocess
import sys

import pytest

pytestmark = pytest.mark.slow

SCRIPT = pathlib.Path(__file__).with_name("labelling.py")


def started(*flags):
    done = subprocess.run([sys.executable, str(SCRIPT), *flags], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_each_method_is_measured():
    sizes = ("--photographs=600", "--features=32", "--count=40")
    told = started(*sizes, "--methods=typicality+margin")
    rows = [json.loads(line) for line in told.splitlines()]
    assert [row["method"] for row in rows] == ["typicality", "margin"]
    assert all(row["chosen"] == 40 and row["gigabytes"] > 0 for row in rows)


def test_two_random_choices_are_rarely_told_apart():
    """Of ten at .05 each, four or more would come once in a thousand times."""
    told = started("--null=10")
    assert float(re.search(r"([\d.]+) % differ", told)[1]) <= 30
