"""Data in a bucket are those of a folder, names and fingerprint; only what is new travels."""

import pytest

from dermjax.data import layouts
from dermjax.data.problems import ManifestError
from dermjax.data.work import Work
from tests.data.miniatures import rows_of, write_photo, write_photos

NAMES = [f"photos/{i}.png" for i in range(6)]
TABLE = "\n".join(["image,label,patient", *rows_of(NAMES), ""])


@pytest.fixture
def clinic(tmp_path):
    """Six photographs, two of them redacted, with masks, and things that no table names."""
    folder = tmp_path / "clinic"
    write_photos(folder, NAMES, (60, 40))
    write_photo(folder / "photos" / "masks" / "1.png", 8, (60, 40))
    write_photo(folder / "photos" / "unnamed.png", 9)
    (folder / "photos.csv").write_text(TABLE)
    (folder / "photos.redact.csv").write_text(
        "image,x,y,w,h\nphotos/0.png,1,2,3,4\nphotos/4.png,5,5,9,9\n"
    )
    return folder


@pytest.fixture
def upload(store, bucket):
    def send(folder, inside="clinic"):
        for path in folder.rglob("*"):
            if path.is_file():
                store.put(bucket, f"{inside}/{path.relative_to(folder)}", path.read_bytes())
        return f"gs://{bucket}/{inside}"

    return send


@pytest.fixture
def downloads(store):
    """The objects whose content was asked for since the last call."""

    def new():
        asked = [name for method, name, content in store.requests if method == "GET" and content]
        store.requests.clear()
        return sorted(asked)

    new()
    return new


def load(source, tmp_path, **options):
    return layouts.load(source, cache_dir=tmp_path / "cache", work=Work(workers=1), **options)


def test_a_table_brings_what_it_names(clinic, upload, downloads, tmp_path):
    here = load(clinic / "photos.csv", tmp_path)
    there = load(upload(clinic) + "/photos.csv", tmp_path)
    own = [name for name in here.frame if name != "path"]
    assert there.frame[own].equals(here.frame[own])
    assert there.fingerprint == here.fingerprint and there.notes == here.notes
    assert (there.frame["redact"] != "").sum() == 2
    assert downloads() == sorted(
        f"clinic/{name}"
        for name in ("photos.csv", "photos.redact.csv", "photos/masks/1.png")
        + tuple(f"photos/{i}.png" for i in range(6))
    )


def test_only_what_has_changed_is_copied_again(store, bucket, clinic, upload, downloads, tmp_path):
    source = upload(clinic) + "/photos.csv"
    before = load(source, tmp_path)
    downloads()
    assert load(source, tmp_path).fingerprint == before.fingerprint
    assert downloads() == []
    write_photo(clinic / "photos/3.png", 77, (60, 40))
    store.put(bucket, "clinic/photos/3.png", (clinic / "photos/3.png").read_bytes())
    after = load(source, tmp_path)
    assert downloads() == ["clinic/photos/3.png"]
    assert after.fingerprint != before.fingerprint
    assert after.fingerprint == load(clinic / "photos.csv", tmp_path).fingerprint


def test_a_new_version_of_the_same_length_is_seen(store, bucket, clinic, upload, tmp_path):
    source = upload(clinic) + "/photos.csv"
    assert load(source, tmp_path).classes == ("a", "b")
    store.put(bucket, "clinic/photos.csv", TABLE.replace(",a,", ",c,").encode())
    assert load(source, tmp_path).classes == ("b", "c")


def test_what_is_deleted_there_is_gone_here(store, bucket, clinic, upload, tmp_path):
    source = upload(clinic) + "/photos.csv"
    load(source, tmp_path)
    del store.objects[bucket]["clinic/photos/2.png"]
    del store.objects[bucket]["clinic/photos.redact.csv"]
    with pytest.raises(ManifestError, match="photos/2.png") as refused:
        load(source, tmp_path)
    assert str(refused.value).startswith(f"{source}: 1 problem")
    store.put(bucket, "clinic/photos/2.png", (clinic / "photos/2.png").read_bytes())
    assert (load(source, tmp_path).frame["redact"] == "").all()


def test_a_folder_is_copied_whole(store, bucket, upload, downloads, tmp_path):
    folder = tmp_path / "classes"
    for index in range(8):
        write_photo(folder / "ab"[index % 2] / f"{index}.png", index)
    here = load(folder, tmp_path)
    source = upload(folder, "deep/er/classes")
    store.put(bucket, "deep/er/classes/", b"")  # as the console marks a folder
    there = load(source, tmp_path)
    assert there.frame["name"].tolist() == here.frame["name"].tolist()
    assert there.fingerprint == here.fingerprint and there.source == source
    assert len(downloads()) == 8
    del store.objects[bucket]["deep/er/classes/a/0.png"]
    (folder / "a/0.png").unlink()
    assert load(source, tmp_path).fingerprint == load(folder, tmp_path).fingerprint
    assert downloads() == []


def test_a_table_above_its_photographs_or_beside_them(upload, clinic, tmp_path):
    (clinic / "tables").mkdir()
    moved = clinic / "tables" / "photos.csv"
    moved.write_text(TABLE.replace("photos/", "../photos/"))
    here = load(moved, tmp_path)
    there = load(upload(clinic) + "/tables/photos.csv", tmp_path)
    assert there.fingerprint == here.fingerprint


def test_a_damaged_download_leaves_no_file(store, bucket, clinic, upload, tmp_path):
    source = upload(clinic) + "/photos.csv"
    name = "clinic/photos/1.png"
    content = store.objects[bucket][name].content
    store.served[name] = content[:-1] + b"?"
    with pytest.raises(ValueError, match=f"{name} cannot be read .arrived damaged"):
        load(source, tmp_path)
    folder = tmp_path / "cache" / "copies" / bucket / "clinic" / "photos"
    assert not list(folder.glob("1.png*"))
    del store.served[name]
    assert len(load(source, tmp_path).frame) == 6


@pytest.mark.parametrize(
    "inside, told",
    [
        ("gs://{bucket}/clinic/no.csv", "no such file or folder: check the name"),
        ("gs://none/photos.csv", "gs://none is no bucket that can be seen from here: check"),
        ("s3://bucket/photos.csv", "of object stores only gs://BUCKET/... is known"),
    ],
)
def test_a_bad_address_is_told(bucket, store, tmp_path, inside, told):
    with pytest.raises(ValueError, match=told) as refused:
        load(inside.format(bucket=bucket), tmp_path)
    assert "\n" not in str(refused.value)
    assert "none" not in store.objects  # nor made


def test_no_permission_is_told(store, bucket, clinic, upload, tmp_path):
    source = upload(clinic) + "/photos.csv"
    store.denied.add(bucket)
    with pytest.raises(ValueError, match=r"cannot be reached \(OSError: Forbidden.*account"):
        load(source, tmp_path)


def test_a_name_that_leaves_the_cache_is_refused(store, bucket, upload, tmp_path):
    store.put(bucket, "data/../../../evil.png", b"x")
    with pytest.raises(ValueError, match="rename the object"):
        load(f"gs://{bucket}/data", tmp_path)


def test_addresses_in_a_table_are_told(clinic, tmp_path):
    (clinic / "photos.csv").write_text(TABLE.replace("photos/5", "gs://b/photos/5"))
    with pytest.raises(ManifestError, match="row 7: image is an address: name it as seen from"):
        load(clinic / "photos.csv", tmp_path)


def test_without_gcsfs_the_extra_is_named(monkeypatch, tmp_path):
    from dermjax import stores

    stores._set_up.cache_clear()
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(ValueError, match=r"need gcsfs: pip install -e '.\[gcs\]'"):
        load("gs://bucket/photos.csv", tmp_path)


def test_an_object_in_another_form_of_its_name_is_brought(clinic, upload, tmp_path):
    """Such as a Mac uploads it, while the table was written on Windows."""
    (clinic / "photos" / "0.png").rename(clinic / "photos" / "e\u0301.PNG")
    (clinic / "photos.redact.csv").unlink()
    (clinic / "photos.csv").write_text(TABLE.replace("photos/0.png", "photos/\u00e9.png"), "utf-8")
    found = load(upload(clinic) + "/photos.csv", tmp_path)
    assert (found.frame["width"] > 0).all()
    assert any("another form" in note and note.startswith("row 2: ") for note in found.notes)
