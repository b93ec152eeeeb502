"""Public layouts: each importer turns a folder into one table under the manifest's headers.

A further one is a function from a folder to (table, notes) that raises `folders.Absent` with what
is missing.
"""

from collections.abc import Callable
from pathlib import Path

from dermjax.data.importers import (
    annotations,
    class_folders,
    ddi,
    derm7pt,
    fitzpatrick17k,
    folders,
    ham10000,
    isic,
    pad_ufes20,
    photographs,
    scin,
)

# In the order they are tried; class folders, which ask little, come late, and photographs without
# labels last, where labels are not needed.
LAYOUTS: dict[str, Callable[[Path], folders.Raw]] = {
    "pad_ufes20": pad_ufes20.read,
    "ham10000": ham10000.read,
    "isic2018": isic.read_2018,
    "isic2019": isic.read_2019,
    "isic2020": isic.read_2020,
    "fitzpatrick17k": fitzpatrick17k.read,
    "scin": scin.read,
    "ddi": ddi.read,
    "derm7pt": derm7pt.read,
    "coco": annotations.read_coco,
    "voc": annotations.read_voc,
    "yolo": annotations.read_yolo,
    "class_folders": class_folders.read,
    "photographs": photographs.read,
}
WITHOUT_TABLE = ("class_folders", "photographs")
WITHOUT_LABELS = ("photographs",)
