"""The benchmarks of the report and of large tables run, at a small size."""

import pathlib
import subprocess
import sys

import pytest

pytestmark = pytest.mark.slow

BENCHMARKS = pathlib.Path(__file__).parent


def told(name, *flags):
    return subprocess.run(
        [sys.executable, BENCHMARKS / name, *flags], check=True, capture_output=True, text=True
    ).stdout


def test_the_reports_benchmark():
    flags = ("--images=60", "--features=8", "--alphas=0.1+1.0", "--trials=1", "--panels=1")
    said = told("study_report.py", *flags)
    assert "report of 6 runs x 60 images x 10 classes" in said and "t-SNE of a panel" in said


def test_the_manifests_benchmark():
    said = told("manifest.py", "--rows=20000")
    assert "   20,000" in said and "ten times the rows take" in said
