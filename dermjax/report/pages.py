"""Pages: one HTML file each that needs no network; scripts only where a page is moved by hand."""

import base64
import hashlib
from importlib import resources

import jinja2
import numpy as np

from dermjax.report import figures

_SIDE = 264  # pixels kept of a photograph; the page shows half, so that print is sharp


def render(template: str, **named) -> str:
    """A template of `templates/`, filled; text is escaped, photographs are put into the file."""
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("dermjax.report"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["photograph"] = _photograph
    return environment.get_template(template).render(**named)


def script(name: str) -> str:
    """The text of a script of `templates/`, to stand inside a page."""
    file = resources.files("dermjax.report").joinpath("templates", name)
    return file.read_text(encoding="utf-8")


def digest(script: str) -> str:
    """The mark by which a browser knows the only script that a page may run."""
    return base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()


def _photograph(pixels: np.ndarray) -> str:
    return figures.data_uri(figures.photograph(pixels, _SIDE), "jpeg")
