"""The simulation of the saliency page's mistakes, on few pages."""

import numpy as np
import pytest
from _report import Report
from _saliency_null import measure

pytestmark = pytest.mark.slow


def test_findings_and_intervals_hold_what_they_promise():
    report = Report(None, {}, budget=float("inf"))
    measure(report, studies=40)
    for kind, count in (("false", 8), ("coverage", 12)):
        rows = [row for row in report.rows if row["id"].startswith(f"saliency/{kind}")]
        assert len(rows) == count
        now, before = np.mean([(row["value"], 100 * row["before"]) for row in rows], 0)
        # Of 320 pages and 480 intervals.
        if kind == "false":
            assert now <= 9 and before > 20
        else:
            assert now >= 91 and before < 90
