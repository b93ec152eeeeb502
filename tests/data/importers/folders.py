"""Public folders in miniature that several tests read, and how they are read."""

from dermjax.data import layouts
from tests.data.miniatures import write_photo


def load(folder, **options):
    return layouts.load(folder, cache_dir=folder.parent / ".cache", **options)


def write(path, *lines):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("\n".join(lines))


def isic2018(folder, order="MEL,NV,BCC,AKIEC,BKL,DF,VASC", part="Training"):
    """Six images of three lesions, melanomas and nevi; archives in folders of their own names."""
    name = f"ISIC2018_Task3_{part}"
    lines = [f"image,{order}"]
    for index in range(6):
        image = f"ISIC_002{part[:2]}{index}"
        write_photo(folder / f"{name}_Input" / f"{image}.jpg", 10 * len(part) + index)
        label = ("MEL", "NV")[index % 2]
        lines.append(",".join([image, *("1.0" if c == label else "0.0" for c in order.split(","))]))
    write(folder / f"{name}_GroundTruth" / f"{name}_GroundTruth.csv", *lines)
    return name, [line.split(",")[0] for line in lines[1:]]


def voc(folder, corners=(1, 1, 40, 20)):
    sides = ("xmin", "ymin", "xmax", "ymax")
    box = "".join(f"<{side}>{value}</{side}>" for side, value in zip(sides, corners, strict=True))
    for index in range(6):
        write_photo(folder / "JPEGImages" / f"{index}.jpg", index, (40, 20))
        name = ("acne", "rosacea")[index % 2]
        write(
            folder / "Annotations" / f"{index}.xml",
            f"<annotation><filename>{index}.jpg</filename><size><width>40</width></size>"
            f"<object><name>{name}</name><bndbox>{box}</bndbox></object></annotation>",
        )


def box_of(frame, name):
    """`label, x, y, w, h` of each row of a photograph."""
    rows = frame[frame["image"].str.endswith(name)]
    return [(row.label, row.x, row.y, row.w, row.h) for row in rows.itertuples()]
