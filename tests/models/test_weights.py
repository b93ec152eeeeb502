"""Weights as users have them: files, the hub, other projects' checkpoints; whole or broken."""

import json
import pathlib
import pickle

import numpy as np
import pytest
import safetensors.numpy

import dermjax
from dermjax import models
from dermjax.models import conventions, imagenet_weights, timm
from tests.models.test_timm import TINY, assert_equal_trees, random_variables

HALF = (0.5, 0.5, 0.5)


def stored(name, classes=5, **changes):
    """The bytes of a .safetensors file, as on the hub."""
    arrays = timm.to_timm(random_variables(name, classes)) | changes
    return safetensors.numpy.save(arrays, metadata={"format": "pt"})


# ------------------------------------------------------------------------------------- the hub


def test_a_file_of_the_hub_is_downloaded_once(hub):
    hub.files["timm/resnet18.tv_in1k", "model.safetensors"] = stored("resnet18")
    model, variables = dermjax.create_model("resnet18", 5, "timm/resnet18.tv_in1k")
    assert_equal_trees(variables, random_variables("resnet18", 5))
    assert model.preprocessing == imagenet_weights.PRETRAINED["resnet18.tv_in1k"]
    assert model.preprocessing.interpolation == "bilinear"
    hub.requests.clear()
    dermjax.create_model("resnet18", 5, "timm/resnet18.tv_in1k")
    assert not hub.requests


def test_weights_that_the_table_does_not_know_bring_their_preprocessing(hub):
    config = {"input_size": [3, 100, 100], "crop_pct": 0.9, "interpolation": "bilinear"}
    config |= {"mean": HALF, "std": HALF, "test_input_size": [3, 120, 120], "test_crop_pct": 1.0}
    name = "someone/efficientnet_tiny.skin"
    hub.files[name, "model.safetensors"] = stored(TINY)
    hub.files[name, "config.json"] = json.dumps({"pretrained_cfg": config}).encode()
    model, _ = dermjax.create_model(TINY, 5, name)
    assert model.preprocessing == models.Preprocessing(
        HALF, HALF, "bilinear", train_size=100, train_crop=0.9, test_size=120, test_crop=1.0
    )
    assert model.preprocessing(np.zeros((50, 80, 3), np.uint8)).shape == (120, 120, 3)


@pytest.mark.parametrize("config", [None, b"{}", b"not json", b"[]"])
def test_a_repository_that_tells_nothing_is_taken_as_usual_and_told(hub, config, caplog):
    hub.files["someone/skin", "model.safetensors"] = stored(TINY)
    if config is not None:
        hub.files["someone/skin", "config.json"] = config
    model, _ = dermjax.create_model(TINY, 5, "someone/skin")
    assert model.preprocessing == models.default_preprocessing(TINY)
    assert "nothing tells how their images were normalised" in caplog.text
    assert "nothing tells whether they are of efficientnet_*" in caplog.text


def test_the_other_family_is_refused(hub):
    hub.files["timm/tf_efficientnet_b0.aa_in1k", "model.safetensors"] = stored("efficientnet_b0")
    with pytest.raises(ValueError, match="weights of tf_efficientnet_b0, but .* efficientnet_b0:"):
        dermjax.create_model("efficientnet_b0", 5, "timm/tf_efficientnet_b0.aa_in1k")


def test_what_the_hub_cannot_give_is_said_in_one_line(hub, monkeypatch, tmp_path):
    hub.files["timm/there", "README.md"] = b"no weights"
    hub.files["timm/cut", "model.safetensors"] = stored(TINY)

    def message(name):
        with pytest.raises(ValueError) as error:
            dermjax.create_model(TINY, 5, name)
        assert "\n" not in str(error.value)
        return str(error.value)

    assert "the hub has no model.safetensors of 'timm/nowhere'" in message("timm/nowhere")
    assert "the hub has no model.safetensors of 'timm/there'" in message("timm/there")
    hub.cut = 1000
    assert "the download of timm/cut failed" in message("timm/cut")
    assert not list((tmp_path / "hub").rglob("*.incomplete"))
    hub.cut, hub.promised = None, {"model.safetensors": "a" * 64}
    assert "does not have the SHA-256 that the hub promises" in message("timm/cut")
    for place in ("snapshots/*/*", "blobs/*"):
        assert not list((tmp_path / "hub").glob(f"*/{place}"))
    hub.promised.clear()
    dermjax.create_model(TINY, 5, "timm/cut")


def test_without_a_network_the_file_and_the_way_out_are_named(hub, monkeypatch):
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    with pytest.raises(ValueError) as error:
        dermjax.create_model("efficientnet_b4", 5, "timm/efficientnet_b4.ra2_in1k")
    assert "/timm/efficientnet_b4.ra2_in1k/resolve/main/model.safetensors" in str(error.value)
    assert "name the copy (efficientnet_b4.ra2_in1k.safetensors)" in str(error.value)


def test_a_cache_that_may_not_be_written_is_named(monkeypatch):
    """Root may write everywhere, so the refusal is acted."""
    import huggingface_hub
    from huggingface_hub import errors

    def refuse(*_, local_files_only=False):
        if local_files_only:
            raise errors.LocalEntryNotFoundError("not there")
        raise PermissionError(13, "Permission denied", "/shared/hub")

    monkeypatch.setattr(huggingface_hub, "hf_hub_download", refuse)
    with pytest.raises(ValueError, match="^/shared/hub cannot be written: set HF_HOME to a folder"):
        dermjax.create_model("resnet18", 5, "timm/resnet18.tv_in1k")


def test_a_cache_that_cannot_be_made_is_told_in_one_line(hub, tmp_path):
    hub.files["timm/resnet18.tv_in1k", "model.safetensors"] = stored("resnet18")
    (tmp_path / "hub").write_text("in the way")
    with pytest.raises(ValueError, match="download of timm/resnet18.tv_in1k failed"):
        dermjax.create_model("resnet18", 5, "timm/resnet18.tv_in1k")


# ------------------------------------------------------------------------------------- files


@pytest.mark.parametrize(
    ("file", "architecture", "known"),
    [
        ("tf_efficientnet_b4.ap_in1k.safetensors", "tf_efficientnet_b4", True),
        ("efficientnet_b4.ra2_in1k", "efficientnet_b4", True),
        ("efficientnet_b4_ra2_320-7eb33cd5.pth", "efficientnet_b4", False),
        ("tf_efficientnet_b4.in1k.npz", "tf_efficientnet_b4", False),
        ("efficientnet_lite0_ra-37913777.pth", "efficientnet_lite0", False),
        ("resnet50.tv2_in1k.safetensors", "resnet50", True),
        ("resnet50d_ra2.pth", "", False),
        ("model.safetensors", "", False),
    ],
)
def test_a_files_name_tells_what_it_is(file, architecture, known):
    found, preprocessing = imagenet_weights.identify(file, models.list_models())
    assert found == architecture and (preprocessing is not None) == known


def test_a_file_is_known_by_its_name(tmp_path):
    arrays = timm.to_timm(random_variables("tf_efficientnet_b0"))
    path = tmp_path / "tf_efficientnet_b0.ap_in1k.npz"
    np.savez(path, **arrays)
    model, _ = dermjax.create_model("tf_efficientnet_b0", 3, path)
    assert model.preprocessing.mean == HALF
    with pytest.raises(ValueError, match="differ in padding and epsilon"):
        dermjax.create_model("efficientnet_b0", 3, path)


def test_a_copy_of_a_hubs_folder_is_known_by_its_config(tmp_path):
    path = tmp_path / "model.safetensors"
    path.write_bytes(stored(TINY))
    config = {"mean": HALF, "std": HALF, "input_size": [3, 64, 64], "crop_pct": 1.0}
    config = {"architecture": TINY, "pretrained_cfg": {**config, "interpolation": "bicubic"}}
    (tmp_path / "config.json").write_text(json.dumps(config))
    model, _ = dermjax.create_model(TINY, 5, path)
    assert model.preprocessing.mean == HALF and model.preprocessing.test_size == 64
    (tmp_path / "config.json").write_text(json.dumps({"alpha": 0.1}))  # another program's
    model, _ = dermjax.create_model(TINY, 5, path)
    assert model.preprocessing == models.default_preprocessing(TINY)


def test_a_file_of_another_network_lists_the_differences(tmp_path):
    path = tmp_path / "weights.safetensors"
    path.write_bytes(stored("resnet18"))
    with pytest.raises(ValueError, match=r"(?s)does not fit .* missing: .* and \d+ more.* left o"):
        dermjax.create_model(TINY, 5, path)


@pytest.mark.parametrize("suffix", [".safetensors", ".npz"])
@pytest.mark.parametrize("length", [0, 5, 1000, -8])
def test_a_truncated_file_is_refused_in_one_line(tmp_path, suffix, length):
    path = tmp_path / f"weights{suffix}"
    if suffix == ".npz":
        np.savez(path, **timm.to_timm(random_variables(TINY)))
    else:
        path.write_bytes(stored(TINY))
    path.write_bytes(path.read_bytes()[:length])
    with pytest.raises(ValueError, match="is damaged or not what its name says") as error:
        dermjax.create_model(TINY, 3, path)
    assert "\n" not in str(error.value) and str(path) in str(error.value)


def test_unknown_files_are_explained(tmp_path):
    with pytest.raises(ValueError, match="weights.onnx is not a file"):
        dermjax.create_model(TINY, 3, tmp_path / "weights.onnx")
    (tmp_path / "weights.onnx").write_bytes(b"?")
    with pytest.raises(ValueError, match="is none of .safetensors, .npz, .pth"):
        dermjax.create_model(TINY, 3, tmp_path / "weights.onnx")


class Payload:
    """What an attacker's pickle does when it is read by a careless program."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return pathlib.Path.touch, (self.path,)


def test_a_pickle_without_torch_asks_for_it(tmp_path, monkeypatch):
    path = tmp_path / "weights.pth"
    path.write_bytes(pickle.dumps(Payload(tmp_path / "hacked")))
    monkeypatch.setitem(__import__("sys").modules, "torch", None)
    with pytest.raises(ValueError, match="only torch reads safely: pip install torch"):
        dermjax.create_model(TINY, 3, path)
    assert not (tmp_path / "hacked").exists()


# ---------------------------------------------------------------------- PyTorch's checkpoints


@pytest.fixture
def torch():
    return pytest.importorskip("torch", reason="pickles are read by torch")


@pytest.mark.parity
@pytest.mark.parametrize("zipped", [True, False])
def test_code_in_a_checkpoint_is_never_run(torch, tmp_path, zipped):
    path, mark = tmp_path / "weights.pth", tmp_path / "hacked"
    content = {"state_dict": {"a": torch.zeros(2)}, "extra": Payload(mark)}
    torch.save(content, path, _use_new_zipfile_serialization=zipped)
    with pytest.raises(ValueError, match="holds more than tensors, and reading that would run"):
        dermjax.create_model(TINY, 3, path)
    assert not mark.exists()


@pytest.mark.parity
@pytest.mark.parametrize("length", [0, 10, 2000, -30])
def test_a_truncated_checkpoint_is_refused(torch, tmp_path, length):
    path = tmp_path / "weights.pth"
    torch.save({"a": torch.arange(10_000)}, path)
    path.write_bytes(path.read_bytes()[:length])
    with pytest.raises(ValueError, match="is damaged") as error:
        dermjax.create_model(TINY, 3, path)
    assert "\n" not in str(error.value)


def as_tensors(torch, arrays, prefix=""):
    return {f"{prefix}{name}": torch.from_numpy(array) for name, array in arrays.items()}


@pytest.mark.parity
def test_a_checkpoint_of_timms_training_gives_its_average(torch, tmp_path):
    old, other = random_variables(TINY), random_variables(TINY, seed=1)
    content = {
        "epoch": 3,
        "arch": TINY,
        "state_dict": as_tensors(torch, timm.to_timm(other)),
        "state_dict_ema": as_tensors(torch, timm.to_timm(old), "module."),
        "optimizer": {"state": {0: {"exp_avg": torch.zeros(3)}}},
    }
    torch.save(content, tmp_path / "last.pth.tar")
    _, variables = dermjax.create_model(TINY, 3, tmp_path / "last.pth.tar")
    assert_equal_trees(variables, old)


@pytest.mark.parity
def test_a_moco_checkpoint_gives_its_query_encoder(torch, tmp_path, caplog):
    """facebookresearch/moco: `fc` is the projection, which nobody may take for a classifier."""
    query, key = random_variables("resnet18", 0), random_variables("resnet18", 0, seed=1)
    state = as_tensors(torch, timm.to_timm(query), "module.encoder_q.")
    state |= as_tensors(torch, timm.to_timm(key), "module.encoder_k.")
    state |= {"module.encoder_q.fc.weight": torch.ones(3, 512)}
    state |= {"module.encoder_q.fc.bias": torch.ones(3)}
    state |= {"module.queue": torch.ones(128, 64), "module.queue_ptr": torch.zeros(1).long()}
    content = {"epoch": 200, "arch": "resnet18", "state_dict": state, "optimizer": {}}
    torch.save(content, tmp_path / "moco_v2.pth.tar")
    _, variables = dermjax.create_model("resnet18", 3, tmp_path / "moco_v2.pth.tar")
    assert variables["params"].pop("fc")["kernel"].max() < 1
    assert_equal_trees(variables, query)
    assert "arrays are not the encoder's and are left" in caplog.text
    assert "one of 3 classes starts fresh" in caplog.text


@pytest.mark.parity
def test_a_vissl_checkpoint_gives_its_trunk(torch, tmp_path):
    old = random_variables("resnet18", 0)
    trunk = as_tensors(torch, timm.to_timm(old), "_feature_blocks.")
    heads = {"0.clf.0.weight": torch.ones(128, 512)}
    model = {"base_model": {"model": {"trunk": trunk, "heads": heads}}}
    torch.save({"phase_idx": 2, "classy_state_dict": model}, tmp_path / "model_final.torch")
    _, variables = dermjax.create_model("resnet18", 0, tmp_path / "model_final.torch")
    assert_equal_trees(variables, old)


# ----------------------------------------------------------------- other projects' names


def foreign(arrays, style):
    """timm's names in the other way round, written from the two projects' own modules."""
    stem = {
        "lukemelas": ("_conv_stem", "_bn0", "_conv_head", "_bn1", "_fc"),
        "classy": ("conv1.0", "conv1.1", "conv_final.0", "conv_final.1", "fc"),
    }[style]
    fixed = dict(zip(("conv_stem", "bn1", "conv_head", "bn2", "classifier"), stem, strict=True))
    under = "_" if style == "lukemelas" else ""
    renamed, numbers = {}, {}
    for name, array in arrays.items():
        module, leaf = name.rsplit(".", 1)
        if module in fixed:
            renamed[f"{fixed[module]}.{leaf}"] = array
            continue
        _, stage, block, part = module.split(".", 3)
        number = numbers.setdefault((stage, block), len(numbers))
        parts = {"conv_dw": "depthwise_conv", "se.conv_reduce": "se_reduce"}
        parts |= {"se.conv_expand": "se_expand"}
        if f"blocks.{stage}.{block}.conv_pwl.weight" in arrays:
            parts |= {"conv_pw": "expand_conv", "conv_pwl": "project_conv"}
            parts |= {"bn1": "bn0", "bn2": "bn1", "bn3": "bn2"}
        else:
            parts |= {"conv_pw": "project_conv", "bn1": "bn1", "bn2": "bn2"}
        place = f"_blocks.{number}." if under else f"block{number}."
        renamed[f"{place}{under}{parts[part]}.{leaf}"] = array
    return renamed


@pytest.mark.parametrize("style", ["lukemelas", "classy"])
def test_names_of_efficientnet_pytorch_and_vissl_are_read(style):
    old = random_variables("tf_efficientnet_b0", 3 if style == "lukemelas" else 0)
    arrays = foreign(timm.to_timm(old), style)
    if style == "classy":
        place = "classy_state_dict.base_model.model.trunk._feature_blocks."
        arrays = {place + name: array for name, array in arrays.items()}
    classes = 3 if style == "lukemelas" else 0
    _, variables = dermjax.create_model("tf_efficientnet_b0", classes, arrays)
    assert_equal_trees(variables, old)
    with pytest.raises(ValueError, match="weights of tf_efficientnet_b0"):
        dermjax.create_model("efficientnet_b0", classes, arrays)


def test_a_block_too_many_is_left_over_under_its_own_name():
    arrays = foreign(timm.to_timm(random_variables("tf_efficientnet_b0")), "lukemelas")
    arrays["_blocks.16._bn1.weight"] = np.ones(3)
    with pytest.raises(ValueError, match=r"1 left over: _blocks.16._bn1.weight \(3,\)"):
        dermjax.create_model("tf_efficientnet_b0", 3, arrays)


def test_plain_names_stay_as_they_are():
    arrays = {"conv_stem.weight": 1, "bn1.num_batches_tracked": 2, "stray": 3}
    renamed = conventions.to_timm(arrays, ["conv_stem.weight"])
    assert renamed[:3] == ({"conv_stem.weight": 1, "stray": 3}, [], False)


# ----------------------------------------------------------------- prefixes of anybody's project

PREFIXES = (
    *("backbone.", "net.", "_orig_mod.", "module.", "encoder.", "model.backbone.0."),
    *("state_dict.model.", "state_dict.backbone.", "model._orig_mod.module.", "student.backbone."),
    *(
        "encoder_q.",
        "state_dict.model.encoder_q.",
        "online_network.encoder.",
        "teacher.",
        "a.b.c.d.",
    ),
)


@pytest.mark.parametrize("prefix", PREFIXES)
@pytest.mark.parametrize("style", ["timm", "lukemelas"])
def test_a_network_under_any_prefix_is_found(prefix, style):
    name = "tf_efficientnet_b0" if style == "lukemelas" else TINY
    old = random_variables(name, 0)
    arrays = timm.to_timm(old)
    arrays = foreign(arrays, style) if style == "lukemelas" else arrays
    given = {prefix + key: array for key, array in arrays.items()}
    given |= {"projection.0.weight": np.ones((3, 3)), "queue": np.ones(9)}
    _, variables = dermjax.create_model(name, 0, given)
    assert_equal_trees(variables, old)


def test_a_prefix_is_told_with_what_is_left(caplog):
    old = random_variables(TINY, 3)
    given = {f"net.{key}": array for key, array in timm.to_timm(old).items()}
    _, variables = dermjax.create_model(TINY, 3, given | {"decoder.weight": np.ones(3)})
    assert_equal_trees(variables, old)
    assert "under 'net.'" in caplog.text and "decoder.weight" in caplog.text


@pytest.mark.parametrize(
    ("taken", "left"),
    [
        ("encoder_q.", "encoder_k."),
        ("model.online.", "model.target."),
        ("net.", "momentum_net."),
        ("teacher.backbone.", "student.backbone."),
    ],
)
def test_of_two_networks_the_one_that_is_meant_is_taken_and_both_are_named(taken, left, caplog):
    old, other = random_variables(TINY, 0), random_variables(TINY, 0, seed=1)
    given = {f"top.{left}{key}": array for key, array in timm.to_timm(other).items()}
    given |= {f"top.{taken}{key}": array for key, array in timm.to_timm(old).items()}
    _, variables = dermjax.create_model(TINY, 0, given)
    assert_equal_trees(variables, old)
    assert f"under 'top.{taken}'" in caplog.text and f"'top.{left}'" in caplog.text


def test_a_file_under_a_prefix_is_read_as_one_without(tmp_path):
    old = random_variables(TINY, 3)
    arrays = {f"backbone.{key}": array for key, array in timm.to_timm(old).items()}
    safetensors.numpy.save_file(arrays, tmp_path / "lightning.safetensors")
    _, variables = dermjax.create_model(TINY, 3, tmp_path / "lightning.safetensors")
    assert_equal_trees(variables, old)


def test_names_that_no_prefix_explains_are_listed_with_the_nearest():
    given = timm.to_timm(random_variables(TINY, 3))
    arrays = {key.replace("conv_stem", "stem_conv"): array for key, array in given.items()}
    with pytest.raises(ValueError, match="1 missing.*conv_stem.weight") as error:
        dermjax.create_model(TINY, 3, {f"net.{key}": array for key, array in arrays.items()})
    assert "conv_stem.weight is perhaps stem_conv.weight" in str(error.value)
