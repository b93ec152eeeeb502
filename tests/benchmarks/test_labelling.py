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


def test_every_method_is_measured():
    told = started("--photographs=600", "--features=32", "--count=40")
    rows = [json.loads(line) for line in told.splitlines()]
    assert len(rows) == 6 and all(row["chosen"] == 40 and row["gigabytes"] > 0 for row in rows)


def test_two_random_choices_are_rarely_told_apart():
    """Of twenty at .05 each, five or more would come once in 400 times."""
    told = started("--null=20")
    assert float(re.search(r"([\d.]+) % differ", told)[1]) <= 20
