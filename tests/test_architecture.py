"""Who may import whom: a tree without a circle, read from the imports themselves."""

import ast
import graphlib
import pathlib

import pytest

PACKAGE = pathlib.Path(__file__).resolve().parents[1] / "dermjax"
# From the ground up: a folder (or a file of the top) imports only from lines above its own.
FLOORS = (
    {"atomic", "stores", "strategies", "suggestions"},
    {"configs", "models", "statistics", "steps"},
    {"data", "training"},
    {"settings", "report"},
    {"runs"},
    {"audit"},  # of data
    {"experiment"},  # one run, whose folder gets its audit
    # Many runs; what one network looks at; new photographs; what to label next.
    {"study", "saliency", "prediction", "labelling"},
    {"cli"},
    {"main", "export"},
)


def modules() -> dict[str, pathlib.Path]:
    """Name -> file of every module but the commands' `__main__`, which nothing can import."""
    found = {}
    for file in PACKAGE.rglob("*.py"):
        parts = file.relative_to(PACKAGE.parent).with_suffix("").parts
        if parts[-1] != "__main__":
            found[".".join(part for part in parts if part != "__init__")] = file
    return found


MODULES = modules()


def imports(name: str) -> set[str]:
    """The package's modules that a module imports, also inside its functions."""
    found = set()
    for node in ast.walk(ast.parse(MODULES[name].read_text())):
        if isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{name}: relative import"
            base = node.module or ""
            names = [f"{base}.{alias.name}" for alias in node.names]
            found |= {one if one in MODULES else base for one in names}
        elif isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
    return {one for one in found if one.split(".")[0] == "dermjax"}


def room(name: str) -> str:
    """`dermjax.study.plan` -> `study`; '' for the package itself."""
    return (name.split(".") + [""])[1]


def test_no_module_imports_itself_by_way_of_others():
    graph = {name: imports(name) - {"dermjax"} for name in MODULES if name != "dermjax"}
    list(graphlib.TopologicalSorter(graph).static_order())  # CycleError names the circle


@pytest.mark.parametrize("name", sorted(set(map(room, MODULES)) - {""}))
def test_every_arrow_goes_down(name):
    floor = {one: number for number, floor in enumerate(FLOORS) for one in floor}
    upwards = [
        f"{module} imports {other}"
        for module in MODULES
        if room(module) == name
        for other in imports(module)
        if room(other) not in ("", name) and floor[room(other)] >= floor[name]
    ]
    assert not upwards, "\n".join(upwards)
