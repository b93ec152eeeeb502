"""What must travel to a machine that nothing can be downloaded on: small photographs, wheels.

    python tests/benchmarks/evidence.py --data=FOLDER --pack=pack [--side=256] [--have=packages.txt]

`pack/photos.csv` and `pack/photos/` are the data set, a photograph for every row, cut to its box,
at most --side px, as the project prepares it; labels and who is who stay. `pack/wheels/` has what
dermjax requires, for CPython 3.12 on Linux x86-64, without what packages.txt names (a line to a
package, as `pip list --format=freeze` there prints it). There:

    pip install --no-index --no-deps pack/wheels/*.whl
    PYTHONPATH=. python tests/benchmarks/evidence.py --data=pack/photos.csv ...
"""

import importlib.metadata
import pathlib
import re
import shutil
import subprocess
import sys
import tempfile

from packaging.requirements import Requirement

from dermjax.data import crops, layouts
from dermjax.data.manifest import make_crops

_VERSION = "3.12"
_PLATFORMS = ("manylinux_2_28_x86_64", "manylinux_2_27_x86_64", "manylinux_2_17_x86_64")
_PLATFORMS += ("manylinux2014_x86_64", "manylinux1_x86_64")
_KEPT = ("label", "patient", "lesion", "split", "exclude")  # columns


def pack(data: str, target: pathlib.Path, *, side: int, have: pathlib.Path | None) -> None:
    """Makes the folder, whole or anew; says how large it is."""
    target.mkdir(parents=True, exist_ok=True)
    photographs(data, target, side)
    wheels(target / "wheels", have)
    for part in ("photos", "wheels"):
        size = sum(path.stat().st_size for path in (target / part).iterdir())
        print(f"{target / part}: {size / 2**20:.1f} MiB")


def photographs(data: str, target: pathlib.Path, side: int) -> None:
    """The table and the photographs, those that are there not again."""
    with tempfile.TemporaryDirectory() as cache:
        frame = layouts.load(data, cache_dir=cache).frame
    (target / "photos").mkdir(exist_ok=True)
    table = frame[[*_KEPT]]
    table.insert(0, "image", [f"photos/{number:06d}.jpg" for number in range(len(frame))])
    for name, crop in zip(table["image"], make_crops(frame), strict=True):
        if not (target / name).exists():
            (target / name).write_bytes(crops.encode(crop, max_side=side, records="jpeg"))
    table.loc[:, (table != "").any()].to_csv(target / "photos.csv", index=False)


def wheels(target: pathlib.Path, have: pathlib.Path | None) -> None:
    """Downloads what is required there and is not there yet; what has no wheel is built.

    Raises:
      SystemExit: a package has no wheel for that machine, and one built here would not serve.
    """
    target.mkdir(exist_ok=True)
    there = {_plain(line.partition("=")[0]) for line in have.read_text().split()} if have else set()
    for name, version in requirements().items():
        if name in there or any(_plain(p.name.split("-")[0]) == name for p in target.iterdir()):
            continue
        command = [sys.executable, "-m", "pip", "--quiet", "download", "--no-deps", "--dest"]
        machine = [f"--python-version={_VERSION}", "--only-binary=:all:"]
        machine += [f"--platform={platform}" for platform in _PLATFORMS]
        one = f"{name}=={version}"
        done = subprocess.run([*command, str(target), one, *machine], stderr=subprocess.DEVNULL)
        if done.returncode:
            _build(one, target)


def _build(one: str, target: pathlib.Path) -> None:
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, "-m", "pip", "--quiet", "wheel", "--no-deps", "-w", folder, one]
        subprocess.run(command, check=True)
        (wheel,) = pathlib.Path(folder).iterdir()
        if not wheel.name.endswith("-none-any.whl"):
            raise SystemExit(f"{one} has no wheel for Python {_VERSION}; it must be there already")
        shutil.move(wheel, target / wheel.name)


def requirements() -> dict[str, str]:
    """Versions of all that dermjax requires, and what that requires, as they are installed here."""
    found: dict[str, str] = {}
    open_ = [Requirement("dermjax")]
    while open_:
        wanted = open_.pop()
        for text in importlib.metadata.requires(wanted.name) or ():
            one = Requirement(text)
            extras = wanted.extras or {""}
            if one.marker and not any(one.marker.evaluate({"extra": e}) for e in extras):
                continue
            if _plain(one.name) not in found:
                found[_plain(one.name)] = importlib.metadata.version(one.name)
                open_.append(one)
    return found


def _plain(name: str) -> str:
    """As package indices compare names."""
    return re.sub(r"[-_.]+", "-", name).lower()
