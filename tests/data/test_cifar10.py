"""Both versions of CIFAR-10's files give the same images; nothing else is read, nothing is run."""

import os
import pickle

import numpy as np
import pytest

from dermjax.data import cifar10
from tests.data import cifar10_files
from tests.data.cifar10_files import BATCHES, CLASSES, pickled

WRITERS = {"python": cifar10_files.write_python, "binary": cifar10_files.write_binary}
PAGE = "https://www.cs.toronto.edu/~kriz/cifar.html"


def parts():
    """Files of different lengths."""
    draw = np.random.default_rng(0)
    return [(name, *cifar10_files.draw_images(draw, 3 + n)) for n, name in enumerate(BATCHES)]


@pytest.mark.parametrize("version", WRITERS)
@pytest.mark.parametrize("inside", [True, False])
def test_both_versions_are_read_in_the_order_of_the_files(tmp_path, version, inside):
    place = {"python": "cifar-10-batches-py", "binary": "cifar-10-batches-bin"}[version]
    written = parts()
    WRITERS[version](tmp_path / place if inside else tmp_path, written)
    found = cifar10.read_cifar10(str(tmp_path))
    np.testing.assert_array_equal(found.images, np.concatenate([part[1] for part in written]))
    np.testing.assert_array_equal(found.labels, np.concatenate([part[2] for part in written]))
    assert found.images.dtype == np.uint8 and found.labels.dtype == np.int32
    assert found.images.flags.c_contiguous and found.images.flags.writeable
    assert found.classes == CLASSES
    assert found.is_test.tolist() == [False] * (3 + 4 + 5 + 6 + 7) + [True] * 8


@pytest.mark.parametrize("version", WRITERS)
def test_a_pixel_stays_at_its_row_column_and_channel(tmp_path, version):
    """The bytes are laid out here by the words of the data set's page."""
    WRITERS[version](tmp_path, parts())
    red = bytes(row for row in range(32) for _ in range(32))  # "row-major order"
    green = bytes(100 + column for _ in range(32) for column in range(32))
    row = red + green + bytes([200]) * 1024
    if version == "binary":
        (tmp_path / "test_batch.bin").write_bytes(bytes([7]) + row + bytes([0]) + bytes(3072))
    else:
        data = np.frombuffer(row + bytes(3072), np.uint8).reshape(2, 3072)
        (tmp_path / "test_batch").write_bytes(pickled({b"data": data, b"labels": [7, 0]}))
    found = cifar10.read_cifar10(tmp_path)
    image = found.images[found.is_test][0]
    rows, columns = np.mgrid[:32, :32]
    np.testing.assert_array_equal(image, np.stack([rows, 100 + columns, 200 + 0 * rows], axis=-1))
    assert found.labels[found.is_test].tolist() == [7, 0]


def test_the_stand_in_is_a_pickle_and_written_anew_by_python_3_is_read_too(tmp_path):
    """`pickle.load(file, encoding="bytes")` is how the data set's page reads it."""
    images, labels = cifar10_files.write_cifar10(tmp_path, train_per_file=11, test=12)
    assert len(images) == 5 * 11 + 12 and set(labels[:11]) == set(range(10))
    for name in (*BATCHES, "batches.meta"):
        content = pickle.loads((tmp_path / name).read_bytes(), encoding="bytes")
        (tmp_path / name).write_bytes(pickle.dumps(content, protocol=2))
    found = cifar10.read_cifar10(tmp_path)
    np.testing.assert_array_equal(found.images, images)
    np.testing.assert_array_equal(found.labels, labels)


def test_rows_stored_by_columns_are_told_apart(tmp_path):
    written = parts()
    cifar10_files.write_python(tmp_path, written)
    _, images, labels = written[-1]
    content = {b"data": np.asfortranarray(cifar10_files.planes(images)), b"labels": labels.tolist()}
    (tmp_path / "test_batch").write_bytes(pickle.dumps(content, protocol=2))
    found = cifar10.read_cifar10(tmp_path)
    np.testing.assert_array_equal(found.images[found.is_test], images)


def refusal(folder) -> str:
    """The error's text: one line that ends in the remedy."""
    with pytest.raises(ValueError) as error:
        cifar10.read_cifar10(folder)
    text = str(error.value)
    assert "\n" not in text and text.endswith(f"name a folder with the unpacked files of {PAGE}")
    return text


@pytest.mark.parametrize("version", WRITERS)
def test_a_missing_file_is_named(tmp_path, version):
    assert f"{tmp_path} holds no files of CIFAR-10" in refusal(tmp_path)
    WRITERS[version](tmp_path, parts())
    for path in sorted(tmp_path.iterdir()):
        content = path.read_bytes()
        path.unlink()
        assert f"{path} is missing" in refusal(tmp_path)
        path.mkdir()
        assert f"{path} cannot be read" in refusal(tmp_path)
        path.rmdir()
        path.write_bytes(content)
    assert len(cifar10.read_cifar10(tmp_path).images) == 33


@pytest.mark.parametrize("version", WRITERS)
def test_a_truncated_file_is_refused(tmp_path, version):
    WRITERS[version](tmp_path, parts())
    path = next(tmp_path.glob("data_batch_4*"))
    content = path.read_bytes()
    for size in (1, 3000, len(content) - 1):
        path.write_bytes(content[:size])
        assert f"{path} is truncated" in refusal(tmp_path)
    path.write_bytes(b"")
    assert f"{path} is truncated" in refusal(tmp_path) or version == "binary"
    assert f"{path} has 0 images" in refusal(tmp_path) or version == "python"


ROWS = np.zeros((2, 3072), np.uint8)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ({b"data": ROWS[:, :3071], b"labels": [0, 1]}, r"pixels \[2, 3071\] and 2 labels"),
        ({b"data": ROWS[0], b"labels": [0]}, r"pixels \[3072\] and 1 labels"),
        ({b"data": ROWS, b"labels": [0, 1, 2]}, r"pixels \[2, 3072\] and 3 labels"),
        ({b"data": ROWS[:0], b"labels": []}, "0 images, not 1 to 10000"),
        ({b"data": np.zeros((10_001, 3072), np.uint8), b"labels": [0] * 10_001}, "10001 images"),
        ({b"data": ROWS, b"labels": [0, 10]}, "1 labels outside 0 to 9"),
        ({b"data": ROWS, b"labels": [-1, 2**31 - 1]}, "2 labels outside 0 to 9"),
        ({b"data": ROWS, b"labels": [0, b"1"]}, "no list b'labels' of whole numbers"),
        ({b"data": ROWS, b"labels": b"\0\1"}, "no list b'labels' of whole numbers"),
        ({b"data": ROWS, b"fine_labels": [0, 1]}, "no list b'labels'"),  # CIFAR-100
        ({b"data": ROWS.astype(np.int8), b"labels": [0, 1]}, "no array b'data' of bytes"),
        ({b"data": ROWS.astype(np.float32), b"labels": [0, 1]}, "no array b'data' of bytes"),
        ({b"data": [1, 2], b"labels": [0, 1]}, "no array b'data' of bytes"),
        ({b"labels": [0, 1]}, "no array b'data' of bytes"),
        ([ROWS], "holds a list, not a dict"),
    ],
)
def test_other_content_is_refused(tmp_path, content, message):
    cifar10_files.write_python(tmp_path, parts())
    (tmp_path / "data_batch_2").write_bytes(pickled(content))
    with pytest.raises(ValueError, match=rf"data_batch_2 .*{message}"):
        cifar10.read_cifar10(tmp_path)
    refusal(tmp_path)


def test_labels_of_the_binary_version_are_checked_too(tmp_path):
    cifar10_files.write_binary(tmp_path, parts())
    path = tmp_path / "data_batch_2.bin"
    path.write_bytes(bytes([10]) + path.read_bytes()[1:])
    assert f"{path} has 1 labels outside 0 to 9" in refusal(tmp_path)


@pytest.mark.parametrize("version", WRITERS)
@pytest.mark.parametrize("names", [CLASSES[:9], (*CLASSES[:9], "cat"), (*CLASSES[:9], "é")])
def test_other_names_of_classes_are_refused(tmp_path, version, names):
    WRITERS[version](tmp_path, parts())
    path = next(tmp_path.glob("batches.meta*"))
    encoded = [name.encode() for name in names]
    path.write_bytes(
        pickled({b"label_names": encoded}) if version == "python" else b"\n".join(encoded)
    )
    assert f"{path} holds" in refusal(tmp_path) and "names of classes" in refusal(tmp_path)


def test_a_pickle_without_names_of_classes_is_refused(tmp_path):
    cifar10_files.write_python(tmp_path, parts())
    for content in ({}, {b"label_names": 10}, {b"label_names": list(range(10))}):
        (tmp_path / "batches.meta").write_bytes(pickled(content))
        assert "batches.meta holds no names of classes" in refusal(tmp_path)


class Attack:
    """Unpickling it makes a file."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return os.system, (f"echo > {self.path}",)


@pytest.mark.parametrize("name", ["data_batch_3", "batches.meta"])
def test_a_pickle_that_runs_a_command_is_refused_before_it_does(tmp_path, name):
    cifar10_files.write_python(tmp_path, parts())
    victim = tmp_path / "victim"
    content = pickle.loads((tmp_path / name).read_bytes(), encoding="bytes")
    attack = pickle.dumps({**content, b"filenames": [Attack(victim)]}, protocol=2)
    pickle.loads(attack)
    assert victim.exists()  # the attack is a real one
    victim.unlink()
    (tmp_path / name).write_bytes(attack)
    assert f"{name} is truncated, damaged or of another kind" in refusal(tmp_path)
    assert f"{os.system.__module__}.system" in refusal(tmp_path) and not victim.exists()


@pytest.mark.parametrize(
    "named",
    ["builtins eval", "numpy load", "numpy.core.multiarray fromfile", "os system", "copyreg eval"],
)
def test_only_the_names_of_arrays_are_known_to_the_reader(tmp_path, named):
    cifar10_files.write_python(tmp_path, parts())
    module, name = named.split()
    (tmp_path / "test_batch").write_bytes(f"c{module}\n{name}\n.".encode())
    assert f"it names {module}.{name}, which no array needs" in refusal(tmp_path)


def test_an_array_that_lies_about_its_size_is_refused(tmp_path):
    cifar10_files.write_python(tmp_path, parts())
    content = pickled({b"data": ROWS, b"labels": [0, 1]})
    shape = b"(K\x02" + b"J\x00\x0c\x00\x00" + b"t"
    assert content.count(shape) == 1
    lie = content.replace(shape, b"(J\xff\xff\xff\x7fJ\x00\x0c\x00\x00t")
    (tmp_path / "test_batch").write_bytes(lie)
    assert "test_batch holds no array b'data' of bytes" in refusal(tmp_path)
