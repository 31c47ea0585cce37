"""What the tests of the commands share: small data, a small encoder, and a way to run a command."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner

from conftest import REPOSITORY
from holdfast import Embeddings, read_embeddings, write_embeddings
from holdfast.cli import app
from holdfast.exceptions import TableError

SUFFIXES = (".parquet", ".npz", ".npy", ".csv")
AGAIN = "write it again."
KNOWN = "give a file ending in .parquet, .npz, .npy or .csv."
COMMAND = (sys.executable, "-m", "holdfast")
ENVIRONMENT = {**os.environ, "PYTHONPATH": str(REPOSITORY / "src")}


def invoke(*words):
    """Run a command in this process; the result has exit_code, stdout and stderr."""
    return CliRunner().invoke(app, [str(word) for word in words])


def succeed(*words):
    """Run a command that must succeed and return what it printed."""
    result = invoke(*words)
    assert result.exit_code == 0, result.stderr or result.exception
    return result.stdout


def succeed_json(*words):
    return json.loads(succeed(*words, "--json"))


def make_blobs(n=60, d=6, k=3, seed=0):
    """Return k far groups in turn: rows (n, d) and their groups (n,)."""
    rng = np.random.default_rng(seed)
    y = np.arange(n) % k
    centres = 4 * np.eye(k, d)
    return (centres[y] + rng.normal(size=(n, d)) / 4).astype(np.float32), y


def make_embeddings(n=60, *, seed=0, labels=True, encoder=None, d=6):
    X, y = make_blobs(n, d=d, seed=seed)
    names = np.array(["hat", "shoe", "skirt"])
    ids = np.array([f"item-{row}" for row in range(n)])
    return Embeddings(ids, X, labels=names[y] if labels else None, encoder=encoder)


def make_table(path, **options):
    write_embeddings(make_embeddings(**options), path)
    return path


def make_photos(folder, n=24):
    """Write n pictures of two colours in two class folders."""
    rng = np.random.default_rng(0)
    for row in range(n):
        shade = (200, 40, 40) if row % 2 else (40, 40, 200)
        pixels = np.clip(shade + rng.integers(-30, 30, (24, 24, 3)), 0, 255).astype(np.uint8)
        path = folder / ("red" if row % 2 else "blue") / f"{row:02d}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(pixels).save(path)
    return folder


def make_encoder(folder, seed=0):
    """Save a ViT with random weights, small enough to be quick."""
    import torch
    from transformers import ViTConfig, ViTModel

    torch.manual_seed(seed)
    config = ViTConfig(
        hidden_size=16, num_hidden_layers=1, num_attention_heads=2, intermediate_size=16, image_size=16,
        patch_size=8,
    )  # fmt: skip
    ViTModel(config).save_pretrained(folder)
    preprocessor = {
        "image_processor_type": "ViTImageProcessor",
        "size": {"height": 16, "width": 16},
        "rescale_factor": 1 / 255,
        "image_mean": [0.5, 0.5, 0.5],
        "image_std": [0.5, 0.5, 0.5],
    }
    (Path(folder) / "preprocessor_config.json").write_text(json.dumps(preprocessor))
    return folder


def files_below(folder):
    """Return every file and its bytes: two equal answers mean that nothing has changed."""
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def sentence_of(path, **options):
    """Return what is said of a table that cannot be read, without its name."""
    with pytest.raises(TableError) as caught:
        read_embeddings(path, **options)
    name, _, sentence = str(caught.value).partition(f"{path}")
    assert name == ""
    assert "\n" not in sentence
    return sentence.removeprefix(":").strip()
