"""Vision transformers through Hugging Face transformers, read from one local folder.

A name on the hub is first copied to the local cache; from there on everything is a folder with
``config.json``, ``preprocessor_config.json`` and safetensors weights, and the network is not touched. No code
that comes with a model is run, and no pickled weights are opened.
"""

from __future__ import annotations

import inspect
import json
import os
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import torch

from holdfast._optional import require
from holdfast._validation import check_choice
from holdfast.embedding.base import hash_files, recipe_hash
from holdfast.embedding.preprocess import Preprocessing
from holdfast.exceptions import InputError, ModelFileError
from holdfast.images import ImageSource, open_image
from holdfast.training.batches import resolve_device

__all__ = ["Precision", "TransformersEncoder"]

Precision = Literal["float32", "bfloat16"]

_HUB_NAME = re.compile(r"[\w-][\w.-]*(/[\w-][\w.-]*)?")
_HUB_FILES = [
    "config.json",
    "preprocessor_config.json",
    "model.safetensors",
    "model.safetensors.index.json",
    "model-*-of-*.safetensors",
]
_SAYS_NOTHING_OF_VECTORS = {"_name_or_path", "architectures", "dtype", "torch_dtype", "transformers_version"}


@dataclass(frozen=True)
class _Architecture:
    """How to load one family of models and where its CLS token is after the last norm."""

    loader: str = "AutoModel"
    options: Mapping[str, Any] = field(default_factory=dict)
    pooled: bool = False  # the last norm is applied to the CLS token alone, in `pooler_output`


_PLAIN = _Architecture()
_UNPOOLED = _Architecture(options={"add_pooling_layer": False})  # the pooler's weights are often missing
_CLIP = _Architecture(loader="CLIPVisionModel", pooled=True)
_ARCHITECTURES = {
    "clip": _CLIP,
    "clip_vision_model": _CLIP,
    "deit": _UNPOOLED,
    "dinov2": _PLAIN,
    "dinov2_with_registers": _PLAIN,
    "dinov3_vit": _PLAIN,
    "vit": _UNPOOLED,
    "vit_msn": _PLAIN,
}
"""Model types with a CLS token that describes the image; checked one by one in tests/test_embedding.py."""


class TransformersEncoder:
    """A vision transformer whose CLS token, after the last norm, is the embedding.

    Made by `from_pretrained`. It follows the `Encoder` protocol; users meet it inside an `Embedder`.
    """

    def __init__(
        self,
        model: torch.nn.Module,
        preprocessing: Preprocessing,
        *,
        name: str,
        recipe: str,
        pooled: bool,
        precision: Precision,
    ) -> None:
        self.name = name
        self.recipe = recipe
        self.dim = _vision_config(model.config)["hidden_size"]
        self.preprocessing = preprocessing
        self._model = model
        self._pooled = pooled
        self._precision = precision
        self._options = _forward_options(model, preprocessing)

    @classmethod
    def from_pretrained(
        cls, name_or_folder: str | os.PathLike[str], *, device: str = "auto", precision: Precision = "float32"
    ) -> TransformersEncoder:
        """Load a model; see `Embedder.from_pretrained` for the parameters and the errors."""
        check_choice("precision", precision, ("float32", "bfloat16"))
        target = resolve_device(device)
        require("transformers")
        folder = _local_folder(name_or_folder)
        config = _read_json(folder / "config.json")
        architecture = _architecture(config, folder)
        preprocessor = folder / "preprocessor_config.json"
        preprocessing = Preprocessing.from_config(_read_json(preprocessor), str(preprocessor))
        weights = _weight_files(folder)
        model = _load(folder, architecture)
        return cls(
            model.eval().to(target),
            preprocessing,
            name=str(name_or_folder),
            recipe=_recipe(config, weights, preprocessing, precision),
            pooled=architecture.pooled,
            precision=precision,
        )

    def prepare(self, image: ImageSource) -> npt.NDArray[np.float32]:
        """Decode and preprocess one image to shape (3, height, width)."""
        return self.preprocessing(open_image(image, shorter_side=self.preprocessing.shorter_side))

    @torch.inference_mode()
    def encode(self, pixels: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
        """Return the CLS tokens of shape (b, d) of a batch of shape (b, 3, height, width)."""
        device = next(self._model.parameters()).device
        batch = torch.from_numpy(pixels).to(device)
        with torch.autocast(device.type, torch.bfloat16, enabled=self._precision == "bfloat16"):
            output = self._model(pixel_values=batch, **self._options)
        cls_token = output.pooler_output if self._pooled else output.last_hidden_state[:, 0]
        vectors: npt.NDArray[np.float32] = cls_token.float().cpu().numpy()
        return vectors


def _recipe(
    config: Mapping[str, Any], weights: list[Path], preprocessing: Preprocessing, precision: Precision
) -> str:
    return recipe_hash(
        {
            "model": {key: value for key, value in config.items() if key not in _SAYS_NOTHING_OF_VECTORS},
            "weights": hash_files(weights),
            "preprocessing": preprocessing.as_dict(),
            "pooling": "cls",
            "normalisation": "l2",
            "precision": precision,
        }
    )


def _forward_options(model: torch.nn.Module, preprocessing: Preprocessing) -> dict[str, bool]:
    """Ask for interpolated positions where the pictures are not of the size the model was trained on."""
    side = _vision_config(model.config).get("image_size")
    trained = (side, side) if isinstance(side, int) else tuple(side or ())
    accepts = "interpolate_pos_encoding" in inspect.signature(model.forward).parameters
    return {"interpolate_pos_encoding": True} if accepts and trained != preprocessing.size else {}


def _vision_config(config: Any) -> dict[str, Any]:
    """Return the image half of a configuration; models of images and text have two."""
    content = config.to_dict()
    vision: dict[str, Any] = content.get("vision_config") or content
    return vision


# --- the model's folder ---------------------------------------------------------------------------------


def _local_folder(name_or_folder: str | os.PathLike[str]) -> Path:
    """Return the model's folder, after a download if it is a name on the hub."""
    folder = Path(name_or_folder)
    if (folder / "config.json").is_file():
        return folder
    if folder.is_dir():
        raise ModelFileError(f"{folder} holds no config.json; give the folder of a transformers model.")
    try:
        return _download(str(name_or_folder))
    except Exception as error:  # the hub's client lets the errors of several libraries through
        raise ModelFileError(
            f"{name_or_folder} is neither a folder with config.json nor a model this machine can download; "
            "check the path, the name and the network, or copy the model's config.json, "
            "preprocessor_config.json and model.safetensors into a folder and give that (--encoder FOLDER)."
        ) from error


def _download(name: str) -> Path:
    """Bring what we read, and nothing else, to the hub's cache; a complete copy there serves offline."""
    from huggingface_hub import snapshot_download

    if not _HUB_NAME.fullmatch(name):
        raise InputError(f"{name} is no name on the hub")
    folder = Path(snapshot_download(name, allow_patterns=_HUB_FILES))
    if not (folder / "config.json").is_file():
        raise InputError(f"{name} has no config.json")
    return folder


def _read_json(path: Path) -> dict[str, Any]:
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise ModelFileError(f"{path} does not exist; copy it from where the model was published.") from None
    except (OSError, ValueError) as error:
        raise ModelFileError(f"{path} is not JSON that can be read; download it again.") from error
    if not isinstance(content, dict):
        raise ModelFileError(f"{path} holds no JSON object; download it again.")
    return content


def _architecture(config: Mapping[str, Any], folder: Path) -> _Architecture:
    kind = str(config.get("model_type"))
    if kind not in _ARCHITECTURES:
        raise ModelFileError(
            f"{folder} is a model of type {kind!r}, whose image embedding is not known to be a CLS token; "
            f"choose one of {', '.join(sorted(_ARCHITECTURES))}."
        )
    return _ARCHITECTURES[kind]


def _weight_files(folder: Path) -> list[Path]:
    """List the safetensors files that make up the model."""
    index = folder / "model.safetensors.index.json"
    if (folder / "model.safetensors").is_file():
        return [folder / "model.safetensors"]
    if not index.is_file():
        raise ModelFileError(
            f"{folder} holds no model.safetensors; convert its weights to safetensors (pickled weights are "
            "not opened) or download it again."
        )
    names = set(_read_json(index).get("weight_map", {}).values())
    missing = sorted(name for name in names if not (folder / name).is_file())
    if missing or not names:
        raise ModelFileError(
            f"{folder} lacks {missing[0] if missing else 'weights'}, named in {index.name}; download it."
        )
    return [folder / name for name in names]


def _load(folder: Path, architecture: _Architecture) -> torch.nn.Module:
    """Load the weights in float32, refusing a file that leaves any of them at random."""
    loader = getattr(require("transformers"), architecture.loader)
    model: torch.nn.Module
    with _quiet():
        try:
            model, report = loader.from_pretrained(
                str(folder),
                dtype=torch.float32,
                use_safetensors=True,
                trust_remote_code=False,
                local_files_only=True,
                output_loading_info=True,
                **architecture.options,
            )
        except ImportError:
            raise
        except Exception as error:  # damaged files surface as errors of several libraries
            reason = str(error).strip().partition("\n")[0].rstrip(".")
            raise ModelFileError(f"{folder} cannot be loaded ({reason}); download it again.") from error
    absent = sorted(report["missing_keys"])
    if absent:
        raise ModelFileError(
            f"{folder} has no weights for {absent[0]} and {len(absent) - 1} others; download it again."
        )
    return model


@contextmanager
def _quiet() -> Iterator[None]:
    """Silence transformers' own report and bar while it loads; what matters becomes one of our errors."""
    log = require("transformers.utils.logging")
    verbosity, bar = log.get_verbosity(), log.is_progress_bar_enabled()
    log.set_verbosity_error()
    log.disable_progress_bar()
    try:
        yield
    finally:
        log.set_verbosity(verbosity)
        if bar:
            log.enable_progress_bar()
