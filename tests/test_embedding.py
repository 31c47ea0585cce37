"""Encoders, preprocessing and the stream: the numbers are those of transformers, whatever the batches do."""

from __future__ import annotations

import json
import shutil
import threading
from collections.abc import Callable
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import transformers
from PIL import Image, ImageFilter

from holdfast.embedding import Embedder, Encoder
from holdfast.embedding.base import hash_files, recipe_hash, unit_rows
from holdfast.embedding.preprocess import Preprocessing
from holdfast.exceptions import HoldfastError, ImageError, ModelFileError, ParameterError
from holdfast.images import ImageSource, open_image

TINY = {
    "hidden_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "intermediate_size": 48,
    "image_size": 32,
    "patch_size": 8,
}
PREPROCESSOR = {
    "image_processor_type": "BitImageProcessor",
    "size": {"shortest_edge": 32},
    "resample": 3,
    "do_center_crop": True,
    "crop_size": {"height": 32, "width": 32},
    "rescale_factor": 1 / 255,
    "image_mean": [0.485, 0.456, 0.406],
    "image_std": [0.229, 0.224, 0.225],
}
MODELS: dict[str, Callable[[], Any]] = {
    "vit": lambda: transformers.ViTModel(transformers.ViTConfig(**TINY)),
    "deit": lambda: transformers.DeiTModel(transformers.DeiTConfig(**TINY)),
    "vit_msn": lambda: transformers.ViTMSNModel(transformers.ViTMSNConfig(**TINY)),
    "dinov2": lambda: transformers.Dinov2Model(transformers.Dinov2Config(**TINY)),
    "dinov2_with_registers": lambda: transformers.Dinov2WithRegistersModel(
        transformers.Dinov2WithRegistersConfig(**TINY)
    ),
    "dinov3_vit": lambda: transformers.DINOv3ViTModel(transformers.DINOv3ViTConfig(**TINY)),
    "clip_vision_model": lambda: transformers.CLIPVisionModel(transformers.CLIPVisionConfig(**TINY)),
    "clip": lambda: transformers.CLIPModel(
        transformers.CLIPConfig(
            vision_config=TINY,
            text_config={
                "hidden_size": 16,
                "num_hidden_layers": 1,
                "num_attention_heads": 2,
                "vocab_size": 9,
            },
        )
    ),
}


NO_IMAGE = "is not an image that can be read (JPEG, PNG, WebP, ...); replace it or leave it out."
NO_DIRECTION = "has a zero or non-finite embedding under colours; leave it out or check the model."


def photograph(width: int, height: int, seed: int = 0) -> Image.Image:
    """A smooth random picture: like a photograph, and unlike noise, neighbouring pixels agree."""
    noise = np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)
    return Image.fromarray(noise).filter(ImageFilter.GaussianBlur(2))


def save_model(kind: str, folder: Path, **preprocessor: object) -> Path:
    torch.manual_seed(0)
    MODELS[kind]().save_pretrained(folder)
    (folder / "preprocessor_config.json").write_text(json.dumps(PREPROCESSOR | preprocessor))
    return folder


@pytest.fixture(scope="module")
def vit_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_model("vit", tmp_path_factory.mktemp("vit"))


@pytest.fixture
def folder(vit_folder: Path, tmp_path: Path) -> Path:
    """A copy of the tiny ViT that a test may damage."""
    return Path(shutil.copytree(vit_folder, tmp_path / "model"))


@pytest.fixture(scope="module")
def embedder(vit_folder: Path) -> Embedder:
    return Embedder.from_pretrained(vit_folder)


# --- preprocessing ------------------------------------------------------------------------------------------

SIZES = [(224, 298), (301, 97), (97, 640), (640, 481), (33, 32), (1, 1), (9, 224)]
PROCESSORS = {
    "shorter side and crop": (
        "BitImageProcessorPil",
        {"size": {"shortest_edge": 224}, "crop_size": {"height": 224, "width": 224}, "resample": 3},
    ),
    "crop of odd sides, bilinear": (
        "CLIPImageProcessorPil",
        {"size": {"shortest_edge": 75}, "crop_size": {"height": 60, "width": 57}, "resample": 2},
    ),
    "crop larger than the image": (
        "BitImageProcessorPil",
        {"size": {"shortest_edge": 40}, "crop_size": {"height": 61, "width": 64}, "resample": 1},
    ),
    "squashed": ("ViTImageProcessorPil", {"size": {"height": 64, "width": 48}, "resample": 2}),
    "squashed and cropped": (
        "DeiTImageProcessorPil",
        {"size": {"height": 80, "width": 80}, "crop_size": {"height": 64, "width": 64}, "resample": 3},
    ),
    "neither rescaled nor normalised": (
        "ViTImageProcessorPil",
        {"size": {"height": 9, "width": 9}, "do_rescale": False, "do_normalize": False, "resample": 0},
    ),
    "not resized": (
        "BitImageProcessorPil",
        {"do_resize": False, "crop_size": {"height": 30, "width": 30}},
    ),
}


@pytest.mark.parametrize("case", PROCESSORS)
def test_preprocessing_equals_that_of_transformers(case: str, tmp_path: Path) -> None:
    name, options = PROCESSORS[case]
    theirs = getattr(transformers, name)(**options)
    theirs.save_pretrained(tmp_path)
    ours = Preprocessing.from_config(json.loads((tmp_path / "preprocessor_config.json").read_text()), "file")
    for seed, (width, height) in enumerate(SIZES):
        image = photograph(width, height, seed)
        want = np.asarray(theirs(image, return_tensors="np")["pixel_values"][0])
        got = ours(image)
        assert got.dtype == np.float32
        assert got.shape == (3, *(ours.size or ()))
        # transformers keeps raw bytes where neither step is asked for
        np.testing.assert_allclose(got, want.astype(np.float32), rtol=0, atol=1e-6)


def test_window_of_a_strip_equals_the_whole_strip() -> None:
    config = PREPROCESSOR | {"do_normalize": False, "do_rescale": False}
    step = Preprocessing.from_config(config, "file")
    for size in [(3000, 10), (10, 3001)]:
        image = photograph(*size)
        whole = image.resize((32 * size[0] // 10, 32) if size[0] > 10 else (32, 32 * size[1] // 10), 3)
        left, top = (whole.width - 32) // 2, (whole.height - 32) // 2
        want = np.asarray(whole.crop((left, top, left + 32, top + 32))).transpose(2, 0, 1)
        assert np.abs(step(image) - want).max() <= 1


def test_strip_of_fifty_thousand_pixels_is_no_bomb() -> None:
    step = Preprocessing.from_config(PREPROCESSOR, "file")
    assert step(Image.new("RGB", (50_000, 1), "red")).shape == (3, 32, 32)
    assert step(Image.new("RGB", (1, 50_000), "red")).shape == (3, 32, 32)


@pytest.mark.parametrize(
    ("kind", "size", "want"),
    [
        ("CLIPFeatureExtractor", 224, 224),
        ("ViTFeatureExtractor", 224, (224, 224)),
        ("DeiTFeatureExtractor", 256, (256, 256)),
        ("BitImageProcessor", {"shortest_edge": 256}, 256),
    ],
)
def test_old_files_write_a_bare_size(kind: str, size: object, want: object) -> None:
    config = {key: value for key, value in PREPROCESSOR.items() if key != "image_processor_type"}
    step = Preprocessing.from_config(config | {"feature_extractor_type": kind, "size": size}, "file")
    assert step.resize == want


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"size": None}, "f has size=None, not sides from 1 to 4096 pixels"),
        ({"size": {"longest_edge": 9}}, "f has size={'longest_edge': 9}, not sides from 1 to 4096 pixels"),
        ({"size": {"shortest_edge": -1}}, "f has size=-1, not sides from 1 to 4096 pixels"),
        ({"crop_size": "big"}, "f has crop_size='big', not sides from 1 to 4096 pixels"),
        ({"resample": 9}, "f has resample=9, not a Pillow filter from 0 to 5; correct the file."),
        ({"resample": [3]}, "f has resample=[3], not a Pillow filter from 0 to 5; correct the file."),
        ({"rescale_factor": "1"}, "f has rescale_factor='1', not a number; correct the file."),
        ({"image_mean": [0.5]}, "f has image_mean=[0.5], not three numbers; correct the file."),
        ({"image_std": None}, "f has image_std=None, not three numbers; correct the file."),
        ({"image_std": [1, 0, 1]}, "f has an image_std of 0; give those the model was trained with."),
        ({"do_center_crop": False}, "f keeps every image's own size or proportions; give it a crop_size"),
    ],
)
def test_bad_preprocessor_file_is_one_sentence(change: dict[str, object], sentence: str) -> None:
    with pytest.raises(ModelFileError) as caught:
        Preprocessing.from_config(PREPROCESSOR | change, "f")
    assert str(caught.value).startswith(sentence)


# --- models -------------------------------------------------------------------------------------------------


def last_norm(model: torch.nn.Module) -> torch.nn.Module:
    """Find the norm that a family applies to the tokens, or to the CLS token, at the very end."""
    names = ("layernorm", "norm", "post_layernorm")
    return next(getattr(model, name) for name in names if hasattr(model, name))


@pytest.mark.parametrize("kind", MODELS)
def test_embedding_is_the_cls_token_after_the_last_norm(kind: str, tmp_path: Path) -> None:
    folder = save_model(kind, tmp_path)
    image = photograph(50, 41)
    got = Embedder.from_pretrained(folder).embed([image])
    model = MODELS[kind]()
    loader = transformers.CLIPVisionModel if kind.startswith("clip") else type(model)
    model = loader.from_pretrained(folder, dtype=torch.float32).eval()
    norm, seen = last_norm(model), []
    norm.register_forward_hook(lambda _module, _inputs, output: seen.append(output))
    pixels = transformers.BitImageProcessorPil(**PREPROCESSOR)(image, return_tensors="pt")["pixel_values"]
    with torch.inference_mode():
        model(pixel_values=pixels)
    token = seen[-1].reshape(-1, 32)[0]
    np.testing.assert_allclose(got[0], torch.nn.functional.normalize(token, dim=0), atol=1e-6)


@pytest.mark.parametrize("kind", ["vit", "dinov2", "dinov2_with_registers", "clip_vision_model"])
def test_pictures_of_another_size_than_trained_on(kind: str, tmp_path: Path) -> None:
    bigger = {"size": {"shortest_edge": 48}, "crop_size": {"height": 48, "width": 48}}
    vectors = Embedder.from_pretrained(save_model(kind, tmp_path, **bigger)).embed([photograph(64, 64)])
    assert vectors.shape == (1, 32)
    np.testing.assert_allclose(np.linalg.norm(vectors), 1, rtol=1e-6)


def test_weights_in_half_precision_are_used_in_single(tmp_path: Path) -> None:
    torch.manual_seed(0)
    MODELS["vit"]().half().save_pretrained(tmp_path)
    (tmp_path / "preprocessor_config.json").write_text(json.dumps(PREPROCESSOR))
    embedder = Embedder.from_pretrained(tmp_path)
    assert {p.dtype for p in embedder.encoder._model.parameters()} == {torch.float32}
    assert embedder.embed([photograph(40, 40)]).dtype == np.float32


def test_bfloat16_is_close_and_another_recipe(vit_folder: Path, embedder: Embedder) -> None:
    images = [photograph(40 + i, 60 - i, i) for i in range(8)]
    half = Embedder.from_pretrained(vit_folder, precision="bfloat16")
    assert half.recipe != embedder.recipe
    assert half.embed(images).dtype == np.float32
    assert (half.embed(images) * embedder.embed(images)).sum(axis=1).min() > 0.999


def test_loading_leaves_the_settings_of_transformers_alone(vit_folder: Path) -> None:
    log = transformers.utils.logging
    before = log.get_verbosity(), log.is_progress_bar_enabled()
    Embedder.from_pretrained(vit_folder)
    assert (log.get_verbosity(), log.is_progress_bar_enabled()) == before


# --- recipe -------------------------------------------------------------------------------------------------


def edit_json(path: Path, **changes: object) -> None:
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))


def test_recipe_is_the_same_for_the_same_files_at_another_place(folder: Path, embedder: Embedder) -> None:
    assert len(embedder.recipe) == 16
    assert Embedder.from_pretrained(folder, batch_size=5).recipe == embedder.recipe
    edit_json(folder / "config.json", transformers_version="9.9", _name_or_path="elsewhere", dtype="float16")
    assert Embedder.from_pretrained(folder).recipe == embedder.recipe


def test_recipe_changes_with_all_that_decides_the_vectors(folder: Path, embedder: Embedder) -> None:
    recipes = {embedder.recipe}
    edit_json(folder / "preprocessor_config.json", resample=2)
    recipes.add(Embedder.from_pretrained(folder).recipe)
    edit_json(folder / "config.json", layer_norm_eps=1e-3)
    recipes.add(Embedder.from_pretrained(folder).recipe)
    weights = bytearray((folder / "model.safetensors").read_bytes())
    weights[-3] ^= 1
    (folder / "model.safetensors").write_bytes(weights)
    recipes.add(Embedder.from_pretrained(folder).recipe)
    assert len(recipes) == 4


def test_recipe_hash_ignores_order_and_pins_its_value() -> None:
    assert recipe_hash({"a": 1, "b": [2, 3]}) == recipe_hash({"b": [2, 3], "a": 1})
    # Tables out there carry these hashes: a change of this number needs a raised RECIPE_VERSION.
    assert recipe_hash({"a": 1}) == "7fda64e3dae94602"


def test_hash_of_files_depends_on_names_and_contents_only(tmp_path: Path) -> None:
    for place in ("here", "there"):
        (tmp_path / place).mkdir()
        for name in ("1", "2"):
            (tmp_path / place / name).write_text(name)
    here, there = tmp_path / "here", tmp_path / "there"
    first = hash_files([here / "1", here / "2"])
    assert hash_files([there / "2", there / "1"]) == first
    (there / "2").write_text("3")
    assert hash_files([there / "1", there / "2"]) != first


# --- bad models ---------------------------------------------------------------------------------------------


def no_config(folder: Path) -> None:
    (folder / "config.json").unlink()


def broken_config(folder: Path) -> None:
    (folder / "config.json").write_text("{")


def list_for_config(folder: Path) -> None:
    (folder / "config.json").write_text("[]")


def no_cls_token(folder: Path) -> None:
    edit_json(folder / "config.json", model_type="siglip_vision_model")


def no_preprocessor(folder: Path) -> None:
    (folder / "preprocessor_config.json").unlink()


def no_weights(folder: Path) -> None:
    (folder / "model.safetensors").unlink()


def pickled_weights(folder: Path) -> None:
    (folder / "model.safetensors").rename(folder / "pytorch_model.bin")


def truncated_weights(folder: Path) -> None:
    data = (folder / "model.safetensors").read_bytes()
    (folder / "model.safetensors").write_bytes(data[: len(data) // 2])


def text_for_weights(folder: Path) -> None:
    (folder / "model.safetensors").write_text("version https://git-lfs")


def weights_of_another_shape(folder: Path) -> None:
    edit_json(folder / "config.json", intermediate_size=64)


def weights_of_a_smaller_model(folder: Path) -> None:
    edit_json(folder / "config.json", num_hidden_layers=3)


def missing_shard(folder: Path) -> None:
    (folder / "model.safetensors").unlink()
    index = {"weight_map": {"a": "model-00001-of-00002.safetensors"}}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index))


@pytest.mark.parametrize(
    ("damage", "sentence"),
    [
        (no_config, "{folder} holds no config.json; give the folder of a transformers model."),
        (broken_config, "{folder}/config.json is not JSON that can be read; download it again."),
        (list_for_config, "{folder}/config.json holds no JSON object; download it again."),
        (
            no_cls_token,
            "{folder} is a model of type 'siglip_vision_model', whose image embedding is not known to",
        ),
        (
            no_preprocessor,
            "{folder}/preprocessor_config.json does not exist; copy it from where the model was published.",
        ),
        (no_weights, "{folder} holds no model.safetensors; convert its weights to safetensors"),
        (pickled_weights, "{folder} holds no model.safetensors; convert its weights to safetensors"),
        (truncated_weights, "{folder} cannot be loaded ("),
        (text_for_weights, "{folder} cannot be loaded ("),
        (weights_of_another_shape, "{folder} cannot be loaded ("),
        (weights_of_a_smaller_model, "{folder} has no weights for "),
        (
            missing_shard,
            "{folder} lacks model-00001-of-00002.safetensors, named in model.safetensors.index.json",
        ),
    ],
)
def test_bad_model_folder_is_one_sentence(
    damage: Callable[[Path], None], sentence: str, folder: Path
) -> None:
    damage(folder)
    with pytest.raises(ModelFileError) as caught:
        Embedder.from_pretrained(folder)
    message = str(caught.value)
    assert message.startswith(sentence.format(folder=folder))
    assert message.endswith(".")
    assert "\n" not in message


@pytest.mark.parametrize("name", ["no-such-owner/no-such-model", "./missing", "/missing/model", "a b"])
def test_unknown_model_is_one_sentence(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    with pytest.raises(ModelFileError) as caught:
        Embedder.from_pretrained(name)
    assert str(caught.value).startswith(
        f"{name} is neither a folder with config.json nor a model this machine can download; check the path"
    )


def test_a_local_folder_never_asks_the_hub(vit_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def connect(*_: object) -> None:
        pytest.fail("a socket was opened")

    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", False)
    monkeypatch.setattr("socket.socket.connect", connect)
    monkeypatch.setattr("socket.create_connection", connect)
    monkeypatch.setattr("socket.getaddrinfo", connect)
    Embedder.from_pretrained(vit_folder)


def test_bad_parameters(vit_folder: Path) -> None:
    bad = [{"device": "gpu"}, {"device": "cuda:99"}, {"precision": "int8"}, {"batch_size": 0}]
    for options in bad:
        with pytest.raises(ParameterError, match=f"^{next(iter(options))}"):
            Embedder.from_pretrained(vit_folder, **options)


# --- embedding ----------------------------------------------------------------------------------------------


class Colours:
    """An encoder without a model: a picture's 4 x 4 colours. Black pictures have no direction."""

    name, dim, recipe = "colours", 48, "0123456789abcdef"

    def prepare(self, image: ImageSource) -> np.ndarray:
        return np.asarray(open_image(image).resize((4, 4)), dtype=np.float32).transpose(2, 0, 1)

    def encode(self, pixels: np.ndarray) -> np.ndarray:
        return pixels.reshape(len(pixels), -1)


def test_encoders_follow_the_protocol(embedder: Embedder) -> None:
    assert isinstance(Colours(), Encoder)
    assert isinstance(embedder.encoder, Encoder)


def test_vectors_do_not_depend_on_batches_threads_or_order(vit_folder: Path) -> None:
    images = [photograph(30 + 3 * i, 70 - i, i) for i in range(13)]
    want = Embedder.from_pretrained(vit_folder).embed(images)
    np.testing.assert_allclose(np.linalg.norm(want, axis=1), 1, rtol=1e-6)
    for batch_size, threads in [(1, 1), (4, 3), (13, 2), (50, 8)]:
        embedder = Embedder.from_pretrained(vit_folder, batch_size=batch_size)
        embedder.threads = threads
        np.testing.assert_allclose(embedder.embed(images), want, atol=1e-5)
        np.testing.assert_allclose(embedder.embed(images[::-1])[::-1], want, atol=1e-5)


def test_paths_bytes_and_images_give_the_same_vectors(embedder: Embedder, tmp_path: Path) -> None:
    image = photograph(50, 40)
    image.save(tmp_path / "a.png")
    data = (tmp_path / "a.png").read_bytes()
    vectors = embedder.embed([image, tmp_path / "a.png", str(tmp_path / "a.png"), data])
    np.testing.assert_allclose(vectors, vectors[[0]].repeat(4, axis=0), atol=1e-6)


def test_reduced_decoding_of_a_big_jpeg_keeps_the_vector(embedder: Embedder) -> None:
    big = photograph(90, 70).resize((1800, 1400), Image.Resampling.BICUBIC)
    buffer = BytesIO()
    big.save(buffer, "JPEG", quality=92)
    whole = Image.open(BytesIO(buffer.getvalue()))
    assert embedder.encoder.prepare(buffer.getvalue()).shape == (3, 32, 32)
    a, b = embedder.embed([buffer.getvalue(), whole])
    assert a @ b > 0.999


def test_progress_ends_at_the_total() -> None:
    calls: list[tuple[int, int]] = []
    Embedder(Colours(), batch_size=4).embed(
        [photograph(9, 9, i) for i in range(10)], progress=lambda done, total: calls.append((done, total))
    )
    assert calls == [(4, 10), (8, 10), (10, 10)]


def test_bad_images_are_named_by_row() -> None:
    good = photograph(8, 8)
    cases: list[tuple[Any, type[HoldfastError], str]] = [
        ([], ImageError, "There is no image to embed; give one at least."),
        ("a.jpg", ParameterError, "images must be a sequence of images, not one; put it in a list."),
        (b"", ParameterError, "images must be a sequence of images, not one; put it in a list."),
        ([good, "x.jpg"], ImageError, "images[1]: x.jpg does not exist; check the path."),
        (
            [good, good, b"zzz", b"yyyy"],
            ImageError,
            f"images[2]: an image of 3 bytes {NO_IMAGE}",
        ),
        (
            [good, Image.new("RGB", (5, 5))],
            ImageError,
            f"images[1]: an image in memory (5 x 5, mode RGB) {NO_DIRECTION}",
        ),
    ]
    for images, kind, sentence in cases:
        with pytest.raises(kind) as caught:
            Embedder(Colours(), batch_size=2).embed(images)
        assert str(caught.value) == sentence


def test_an_error_of_the_model_is_not_taken_for_a_broken_image() -> None:
    class Failing(Colours):
        def encode(self, pixels: np.ndarray) -> np.ndarray:
            raise MemoryError

    with pytest.raises(MemoryError):
        Embedder(Failing()).embed([photograph(8, 8)] * 99)
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("holdfast-decode")]


@pytest.mark.parametrize(("batch_size", "threads"), [(1, 4), (8, 2)])
def test_few_images_are_held_at_a_time(batch_size: int, threads: int) -> None:
    class Counting(Colours):
        held = most = 0
        lock = threading.Lock()

        def prepare(self, image: ImageSource) -> np.ndarray:
            with self.lock:
                self.held += 1
                self.most = max(self.most, self.held)
            return super().prepare(image)

        def encode(self, pixels: np.ndarray) -> np.ndarray:
            with self.lock:
                self.held -= len(pixels)
            return super().encode(pixels)

    encoder = Counting()
    embedder = Embedder(encoder, batch_size=batch_size, threads=threads)
    embedder.embed([photograph(8, 8)] * 200)
    assert encoder.most <= batch_size + max(batch_size, 2 * threads) + 1


def test_unit_rows_flags_what_has_no_direction() -> None:
    rows = np.array([[3, 4], [0, 0], [np.nan, 1], [np.inf, 0]], dtype=np.float32)
    unit, usable = unit_rows(rows)
    np.testing.assert_array_equal(usable, [True, False, False, False])
    np.testing.assert_allclose(unit, [[0.6, 0.8], [0, 0], [0, 0], [0, 0]], rtol=1e-6)


# --- real photographs ---------------------------------------------------------------------------------------


@pytest.mark.data
@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_photographs_get_the_reference_vectors(data_dir: Path, precision: Any) -> None:
    with np.load(data_dir / "emb_clothing_vittiny16.npz", allow_pickle=False) as table:
        ids, X = table["ids"], table["X"].astype(np.float32)
    rows = np.random.default_rng(0).choice(len(ids), 40, replace=False)
    embedder = Embedder.from_pretrained(data_dir / "vit-tiny", precision=precision)
    got = embedder.embed([data_dir / "clothing" / ids[row] for row in rows])
    want = X[rows] / np.linalg.norm(X[rows], axis=1, keepdims=True)
    cosine = (got * want).sum(axis=1)
    assert cosine.min() > (0.99999 if precision == "float32" else 0.999)
