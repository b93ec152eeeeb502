"""Eight CPU devices for every test, set before anything imports jax; comparisons that must run."""

import ctypes
import gc
import os
import shutil
import signal
import sys
import tempfile

import pytest

# A script's background jobs ignore Ctrl-C, and all that they start does; tests send it.
if signal.getsignal(signal.SIGINT) == signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)
os.environ.setdefault("JAX_PLATFORMS", "cpu")
os.environ.setdefault("JAX_NUM_CPU_DEVICES", "8")
# Most of the tests' time is compiling, and most programs are compiled by several of them: what one
# process has compiled, all others of the same test run take, workers and what they start alike.
# Whoever names the folder keeps it for the next test run.
_FOLDER = "DERMJAX_TESTS_COMPILED"
_MADE_HERE = _FOLDER not in os.environ  # workers inherit it
if _MADE_HERE:
    os.environ[_FOLDER] = tempfile.mkdtemp(prefix="dermjax-compiled-")
os.environ["JAX_COMPILATION_CACHE_DIR"] = os.environ[_FOLDER]
os.environ["JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS"] = "0"
# A tiny network is compiled for longer than it runs: without LLVM's dear passes a run of one takes
# three quarters of the time.
os.environ["XLA_FLAGS"] = " ".join(
    [
        "--xla_backend_optimization_level=0 --xla_llvm_disable_expensive_passes=true",
        os.environ.get("XLA_FLAGS", ""),  # the last one counts
    ]
)


# In this order. The first two are begun together and compile other programs; a third one finds the
# run that most of `experiment` looks at compiled.
_LONG = (
    "tests/steps/test_moco.py",
    "tests/experiment/test_encoder_rate.py",
    "tests/study/test_report.py",
    "tests/experiment",
    "tests/study",
    "tests/test_readme",
    "tests/steps",
    "tests/prediction",
)


def pytest_unconfigure():
    if _MADE_HERE:
        shutil.rmtree(os.environ[_FOLDER], ignore_errors=True)


def pytest_addoption(parser):
    parser.addoption(
        "--require-parity",
        action="store_true",
        help="a comparison with a reference implementation that is skipped counts as failed",
    )

    parser.addoption(
        "--all",
        action="store_true",
        help="also what is marked `slow`: whole runs that are killed, processes, benchmarks",
    )


def pytest_collection_modifyitems(config, items):
    """Leaves out what is slow, unless all is asked for; a test that is named by hand is run.

    Files that take minutes come first: one that is left for the end keeps one process busy alone.
    """
    items.sort(key=_place)
    by_hand = any("::" in argument for argument in config.args)
    if config.getoption("--all") or by_hand:
        return
    slow = [item for item in items if "slow" in item.keywords]
    if slow:
        config.hook.pytest_deselected(items=slow)
        items[:] = [item for item in items if "slow" not in item.keywords]


def _place(item):
    """The first of `_LONG` that a test is in."""
    starts = (place for place, name in enumerate(_LONG) if item.nodeid.startswith(name))
    return next(starts, len(_LONG))


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item, call):
    report = yield
    required = item.config.getoption("--require-parity") and "parity" in item.keywords
    if required and report.skipped:
        report.outcome = "failed"
        report.longrepr = f"--require-parity: this comparison was skipped ({report.longrepr[2]})"
    return report


@pytest.fixture(scope="module", autouse=True)
def _forgotten_programs():
    """What a file's tests have compiled is let go behind it: it took gigabytes of each worker."""
    yield
    _Memory.let_go()


@pytest.fixture(autouse=True)
def _programs_forgotten_in_time():
    """Within a file, too, where they have become many; who needs one reads it from the disk."""
    yield
    if _Memory.held() > _Memory.after + _MORE:
        _Memory.let_go()


_MORE = 300  # MB


class _Memory:
    """The memory of this process."""

    after = 600  # MB, when programs were last let go; to begin with, about what imports take

    @staticmethod
    def held() -> float:
        """MB; 0 where the system does not tell."""
        try:
            with open("/proc/self/statm") as file:
                return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 2**20
        except OSError:
            return 0.0

    @classmethod
    def let_go(cls) -> None:
        """Drops compiled programs, and gives the memory back that glibc would keep for later."""
        if "jax" not in sys.modules:
            return
        sys.modules["jax"].clear_caches()
        gc.collect()
        trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
        if trim is not None:
            trim(0)
        cls.after = cls.held()


@pytest.fixture
def hub(tmp_path, monkeypatch):
    """huggingface_hub's real client with a server of our own and an empty cache."""
    from huggingface_hub import constants

    from tests.models.hub_server import Hub

    with Hub() as server:
        template = server.url + "/{repo_id}/resolve/{revision}/{filename}"
        monkeypatch.setattr(constants, "ENDPOINT", server.url)
        monkeypatch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", template)
        monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
        yield server


@pytest.fixture(scope="session")
def store():
    """Google Cloud Storage in miniature, which all three of its clients are sent to."""
    from dermjax import stores
    from tests.bucket import Store

    with Store() as server, pytest.MonkeyPatch.context() as patch:
        for name, value in server.environment.items():
            patch.setenv(name, value)
        # Before any test opens an object: gcsfs keeps what it was first made with.
        stores.filesystem()
        yield server


@pytest.fixture
def bucket(store):
    """The name of an empty bucket of the test's own."""
    name = f"bucket-{len(store.objects)}"
    store.objects[name] = {}
    return name


@pytest.fixture(scope="session")
def base(tmp_path_factory):
    """One clinic, one cache, and one finished SS run for the tests that only look."""
    from dermjax.cli import task
    from tests.experiment.clinic import cache_in, tiny_config, write_clinic

    folder = tmp_path_factory.mktemp("clinic")
    manifest = write_clinic(folder)
    with cache_in(folder):
        assert task.start(tiny_config("SS", manifest), str(folder / "runs" / "ss")) == 0
        yield folder


@pytest.fixture
def table(base):
    """The clinic's table, which is put back as it was."""
    path = base / "photos.csv"
    text = path.read_text()
    yield path
    path.write_text(text)
