"""Tables of photographs as a user writes them; no photograph is there."""

from dermjax.data import manifest

HEADER = "image,label,patient"
BOXED = HEADER + ",x,y,w,h"
GIVEN = HEADER + ",split"
GOOD = [f"{name}{index}.jpg,{name},{name}{index}" for name in "ab" for index in range(3)]


def write_table(tmp_path, text, encoding="utf-8"):
    path = tmp_path / "table.csv"
    path.write_bytes(text.encode(encoding))
    return path


def read_rows(tmp_path, *rows, header=HEADER, good=True):
    """Reads six good rows (lines 2 to 7), then the given ones (from line 8)."""
    commas = "," * (header.count(",") - 2)
    lines = [header, *((row + commas for row in GOOD) if good else ()), *rows]
    return manifest.read_csv(write_table(tmp_path, "\n".join(lines) + "\n"))
