"""Tensor folders: exact round trips, and a clear sentence for every way in which they can be broken."""

import json
import os
import re

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from holdfast.exceptions import ModelFileError, OutputError, ParameterError
from holdfast.io.tensors import SCHEMA_VERSION, load_tensors, save_tensors

TENSORS = {"weight": np.arange(6, dtype=np.float32).reshape(2, 3), "count": np.int64(7)}
MANIFEST = {"estimator": "DEC", "parameters": {"n_clusters": 3, "tol": 0.1}, "history": [{"loss": 0.25}]}


@pytest.fixture
def folder(tmp_path):
    save_tensors(tmp_path / "model", TENSORS, MANIFEST)
    return tmp_path / "model"


def edit(folder, **changes):
    """Change the manifest as somebody with a text editor would."""
    path = folder / "manifest.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))


def test_round_trip(folder):
    tensors, manifest = load_tensors(folder)
    assert set(tensors) == set(TENSORS)
    for name, array in TENSORS.items():
        np.testing.assert_array_equal(tensors[name], array, strict=True)
    assert {key: manifest[key] for key in MANIFEST} == MANIFEST
    assert manifest["format"] == "holdfast"
    assert manifest["schema_version"] == 1
    assert set(manifest["libraries"]) >= {"python", "numpy", "torch"}
    assert manifest["tensors"]["weight"] == {"dtype": "float32", "shape": [2, 3]}
    assert re.fullmatch(r"[0-9a-f]{64}", manifest["sha256"]["tensors"])
    assert sorted(entry.name for entry in folder.iterdir()) == ["manifest.json", "tensors.safetensors"]


dtypes = st.sampled_from(["float16", "float32", "float64", "int8", "int64", "uint8", "bool", ">f4", ">i8"])


@given(
    array=dtypes.flatmap(lambda kind: hnp.arrays(kind, hnp.array_shapes(min_dims=0, max_dims=3, min_side=0)))
)
def test_any_numbers_come_back_bit_by_bit(tmp_path_factory, array):
    folder = tmp_path_factory.mktemp("any") / "model"
    # The transposed view is the trap: the file stores plain rows, whatever the order in memory.
    save_tensors(folder, {"a": array, "t": array.T, "step": array[..., ::2] if array.ndim else array}, {})
    tensors, _ = load_tensors(folder)
    for name, expected in {"a": array, "t": array.T}.items():
        assert tensors[name].shape == expected.shape
        assert tensors[name].tobytes() == expected.astype(expected.dtype.newbyteorder("=")).tobytes()


def test_saving_twice_gives_the_same_bytes(tmp_path):
    for name in ("a", "b"):
        save_tensors(tmp_path / name, TENSORS, MANIFEST)
    for file in ("manifest.json", "tensors.safetensors"):
        assert (tmp_path / "a" / file).read_bytes() == (tmp_path / "b" / file).read_bytes()


def test_an_earlier_save_is_replaced_and_anything_else_refused(folder):
    save_tensors(folder, {"other": np.zeros(1)}, {})
    assert list(load_tensors(folder)[0]) == ["other"]
    (folder / "notes.txt").write_text("mine")
    with pytest.raises(OutputError, match=r"holds 'notes\.txt', which would be lost"):
        save_tensors(folder, TENSORS, MANIFEST)


@pytest.mark.parametrize("umask", [0o022, 0o027, 0o077, 0o002])
def test_who_may_read_is_the_umasks_business(tmp_path, umask):
    before = os.umask(umask)
    try:
        save_tensors(tmp_path / "model", TENSORS, MANIFEST)
    finally:
        os.umask(before)
    modes = {entry.name: entry.stat().st_mode & 0o777 for entry in (tmp_path / "model").iterdir()}
    assert modes == dict.fromkeys(("manifest.json", "tensors.safetensors"), 0o666 & ~umask)


def test_what_cannot_be_saved(tmp_path):
    with pytest.raises(
        ParameterError, match="Tensor 'names' holds <U1 values: put anything but numbers in the manifest"
    ):
        save_tensors(tmp_path / "m", {"names": np.array(["a"])}, {})
    with pytest.raises(ParameterError, match="manifest must not use the reserved key 'sha256'"):
        save_tensors(tmp_path / "m", {}, {"sha256": 1})
    assert not (tmp_path / "m").exists()


@pytest.mark.parametrize("name", ["none", "file", "empty"])
def test_a_path_that_is_no_model_folder(tmp_path, name):
    (tmp_path / "file").write_text("x")
    (tmp_path / "empty").mkdir()
    with pytest.raises(ModelFileError) as caught:
        load_tensors(tmp_path / name)
    assert (
        str(caught.value)
        == f"{tmp_path / name} is no model folder (manifest.json is missing): check the path."
    )


def test_a_missing_tensor_file(folder):
    (folder / "tensors.safetensors").unlink()
    with pytest.raises(ModelFileError) as caught:
        load_tensors(folder)
    assert str(caught.value) == (
        f"{folder}/tensors.safetensors is damaged (it is missing): "
        "restore the folder or save the model again."
    )


def test_every_flipped_or_lost_byte_of_the_tensors_is_seen(folder):
    path = folder / "tensors.safetensors"
    whole = path.read_bytes()
    for place in range(0, len(whole), 7):
        path.write_bytes(whole[:place] + bytes([whole[place] ^ 1]) + whole[place + 1 :])
        with pytest.raises(ModelFileError, match="its checksum differs from the manifest's"):
            load_tensors(folder)
        path.write_bytes(whole[:place])
        with pytest.raises(ModelFileError, match="its checksum differs from the manifest's"):
            load_tensors(folder)


def test_every_truncation_of_the_manifest_is_seen(folder):
    path = folder / "manifest.json"
    whole = path.read_text()
    for length in range(0, len(whole) - 2, 11):
        path.write_text(whole[:length])
        with pytest.raises(ModelFileError, match=r"manifest\.json is damaged \(it is no JSON, "):
            load_tensors(folder)


def test_an_edited_manifest_is_seen(folder):
    edit(folder, parameters={"n_clusters": 4, "tol": 0.1})
    with pytest.raises(ModelFileError, match="it was changed after it was saved"):
        load_tensors(folder)


def test_another_spacing_is_no_change(folder):
    edit(folder)
    assert load_tensors(folder)[1]["estimator"] == "DEC"


def test_a_newer_schema_asks_for_an_upgrade(folder):
    edit(folder, schema_version=SCHEMA_VERSION + 1)
    with pytest.raises(ModelFileError) as caught:
        load_tensors(folder)
    assert str(caught.value) == (
        f"{folder}/manifest.json has schema version 2, this holdfast reads 1: upgrade holdfast."
    )


@pytest.mark.parametrize("schema", [None, "1", 0, True, 1.0])
def test_a_senseless_schema(folder, schema):
    edit(folder, schema_version=schema)
    with pytest.raises(ModelFileError, match="is damaged"):
        load_tensors(folder)


@pytest.mark.parametrize("text", ["[]", "1", "{}", '{"format": "other"}', "null"])
def test_a_foreign_manifest(folder, text):
    (folder / "manifest.json").write_text(text)
    with pytest.raises(ModelFileError, match="was not written by holdfast: give a folder that it saved"):
        load_tensors(folder)


@pytest.mark.parametrize("sums", [None, [], {}, {"manifest": 1}])
def test_senseless_checksums(folder, sums):
    edit(folder, sha256=sums)
    with pytest.raises(ModelFileError, match="is damaged"):
        load_tensors(folder)


def test_a_consistent_swap_of_the_tensor_file_is_seen(folder, tmp_path):
    """Somebody who fixes the file's checksum but not the manifest's own."""
    save_tensors(tmp_path / "other", {"weight": np.zeros((9, 9))}, {})
    (folder / "tensors.safetensors").write_bytes((tmp_path / "other" / "tensors.safetensors").read_bytes())
    other = json.loads((tmp_path / "other" / "manifest.json").read_text())["sha256"]["tensors"]
    own = json.loads((folder / "manifest.json").read_text())["sha256"]["manifest"]
    edit(folder, sha256={"tensors": other, "manifest": own})
    with pytest.raises(ModelFileError, match="its tensors are not those that the manifest lists"):
        load_tensors(folder)
