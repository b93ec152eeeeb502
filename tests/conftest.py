"""Eight CPU devices for every test, set before anything imports jax; comparisons that must run."""

import os

import pytest

os.environ.setdefault("JAX_PLATFORMS", "cpu")
os.environ.setdefault("JAX_NUM_CPU_DEVICES", "8")


def pytest_addoption(parser):
    parser.addoption(
        "--require-parity",
        action="store_true",
        help="a comparison with a reference implementation that is skipped counts as failed",
    )


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item, call):
    report = yield
    required = item.config.getoption("--require-parity") and "parity" in item.keywords
    if required and report.skipped:
        report.outcome = "failed"
        report.longrepr = f"--require-parity: this comparison was skipped ({report.longrepr[2]})"
    return report
