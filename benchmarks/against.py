"""A whole fit against what people run today, on 20,000 rows: CPU seconds of one thread, and ACC.

``python -m benchmarks.against run`` appends to ``results/against.jsonl``; ``table`` prints Markdown. The
rival recipe is that of a widely read notebook: an autoencoder d-256-32, 50 epochs of denoising, k-means
(n_init 20) on its latent, 100 epochs with a target for every batch, each through a ``DataLoader``; its last
state counts, not the best by the true labels. ``clustpy`` runs in an environment of its own, where
``HOLDFAST_CLUSTPY`` names the interpreter (clustpy without its torchvision).
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
import warnings
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")

import numpy as np
import torch
from sklearn.cluster import KMeans
from torch import nn
from torch.nn.functional import kl_div, normalize
from torch.utils.data import DataLoader, TensorDataset

import holdfast as hf
from benchmarks.datasets import data_folder
from benchmarks.machine import describe
from benchmarks.synthetic import embedding_like
from benchmarks.tables import markdown
from holdfast.metrics import score

RESULTS = Path(__file__).parent / "results" / "against.jsonl"
N, K = 20_000, 100

_CLUSTPY = """
import importlib.abc, importlib.machinery, json, sys, time, types, warnings
warnings.simplefilter("ignore")
class Stub(importlib.abc.MetaPathFinder, importlib.abc.Loader):  # what is imported of it is never used
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] == "torchvision":
            return importlib.machinery.ModuleSpec(name, self, is_package=True)
    def create_module(self, spec):
        module = types.ModuleType(spec.name)
        module.__getattr__ = lambda name: self.anything(name)
        return module
    def exec_module(self, module):
        pass
    def anything(self, name):
        if name.startswith("__"):
            raise AttributeError(name)
        return type(name, (), {})
sys.meta_path.insert(0, Stub())
import numpy as np, torch
torch.set_num_threads(1)
from clustpy.deep import DEC
X, k, seed = np.load(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3])
begin = time.process_time()
model = DEC(
    k, batch_size=256, pretrain_epochs=50, clustering_epochs=100, embedding_size=32, random_state=seed,
    custom_dataloaders=None, neural_network=None, device=torch.device("cpu"),
)
from clustpy.deep.neural_networks import FeedforwardAutoencoder
model.neural_network = FeedforwardAutoencoder([X.shape[1], 256, 32])
model.fit(X)
seconds = time.process_time() - begin
labels = getattr(model, "dec_labels_", model.labels_)
print(json.dumps({"seconds": seconds, "labels": np.asarray(labels).tolist()}))
"""


def shapes() -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """The data: rows like embeddings, and real pixels where the shared data are."""
    found = {"made up, K 100": embedding_like(N, 768, K)}
    path = data_folder() / "img_mnist_train.npz"
    if path.exists():
        with np.load(path, allow_pickle=False) as table:
            X, y = table["X"][:N], table["y"][:N]
        found["MNIST pixels, K 10"] = (X.reshape(N, -1).astype(np.float32) / 255, y)
    return found


def notebook_recipe(X: np.ndarray, k: int, seed: int) -> np.ndarray:
    """The recipe as a plain loop; returns the labels of its last state."""
    torch.manual_seed(seed)
    d = X.shape[1]
    encoder = nn.Sequential(nn.Linear(d, 256), nn.ReLU(), nn.Linear(256, 32))
    decoder = nn.Sequential(nn.Linear(32, 256), nn.ReLU(), nn.Linear(256, d))
    data = TensorDataset(torch.arange(len(X)), torch.from_numpy(X))
    optimiser = torch.optim.Adam([*encoder.parameters(), *decoder.parameters()])
    for _ in range(50):
        for _, x in DataLoader(data, batch_size=256, shuffle=True):
            noisy = x * (torch.rand_like(x) > 0.3)
            loss = nn.functional.mse_loss(decoder(normalize(encoder(noisy), dim=1)), x)
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
    with torch.no_grad():
        z = torch.cat([encoder(x) for _, x in DataLoader(data, batch_size=1024)])
    found = KMeans(k, n_init=20, random_state=seed).fit(z.numpy())
    centres = nn.Parameter(torch.from_numpy(found.cluster_centers_))
    optimiser = torch.optim.Adam(
        [{"params": encoder.parameters(), "lr": 1e-6}, {"params": [centres], "lr": 1e-5}]
    )
    for _ in range(100):
        for _, x in DataLoader(data, batch_size=256):
            q = _student(encoder(x), centres)
            weight = (q**2 / q.sum(0)).detach()
            loss = kl_div(q.log(), weight / weight.sum(1, keepdim=True), reduction="batchmean")
            optimiser.zero_grad()
            loss.backward()
            nn.utils.clip_grad_norm_([*encoder.parameters(), centres], 1.0)
            optimiser.step()
    with torch.no_grad():
        return torch.cat(
            [_student(encoder(x), centres).argmax(1) for _, x in DataLoader(data, batch_size=1024)]
        ).numpy()


def _student(z: torch.Tensor, centres: torch.Tensor) -> torch.Tensor:
    q = 1 / (1 + ((z[:, None] - centres) ** 2).sum(2))
    return q / q.sum(1, keepdim=True)


def clustpy(X: np.ndarray, k: int, seed: int) -> tuple[np.ndarray, float]:
    """ClustPy's DEC, 50 + 100 epochs, in its own interpreter."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "X.npy"
        np.save(path, X / X.std())  # on unit rows its Student-t kernel sees nothing
        command = [os.environ["HOLDFAST_CLUSTPY"], "-c", _CLUSTPY, str(path), str(k), str(seed)]
        said = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    answer = json.loads(said.splitlines()[-1])
    return np.array(answer["labels"]), answer["seconds"]


def measure(method: str, X: np.ndarray, k: int, seed: int) -> tuple[np.ndarray, float]:
    if method == "clustpy":
        return clustpy(X, k, seed)
    begin = time.process_time()
    if method == "notebook":
        labels = notebook_recipe(X, k, seed)
    elif method == "k-means":
        labels = KMeans(k, n_init=20, random_state=seed).fit(X).labels_
    else:
        options = {
            "holdfast": {},
            "holdfast, relaxed": {"precision": "relaxed"},
        }
        labels = hf.DEC(k, random_state=seed, **options[method]).fit(X).labels_
    return labels, time.process_time() - begin


def run(seeds: list[int], only: str = "") -> None:
    """Measure every method with every seed on the data whose names begin with ``only``."""
    methods = ["holdfast", "notebook", "holdfast, relaxed", "k-means"]
    methods += ["clustpy"] if "HOLDFAST_CLUSTPY" in os.environ else []
    for name, (X, y) in shapes().items():
        for seed in seeds if name.startswith(only) else ():
            for method in methods:
                k = len(np.unique(y))
                labels, seconds = measure(method, X, k, seed)
                record = {"data": name, "method": method, "seed": seed, "seconds": seconds}
                record |= {"acc": score(y, labels)["acc"]}
                with RESULTS.open("a") as file:
                    file.write(json.dumps(record) + "\n")
                print(record, flush=True)


def table() -> str:
    records = [json.loads(line) for line in RESULTS.read_text().splitlines()]
    lines = []
    for name in dict.fromkeys(r["data"] for r in records):
        here = [r for r in records if r["data"] == name]
        ours = {r["seed"]: r["seconds"] for r in here if r["method"] == "holdfast"}
        for method in dict.fromkeys(r["method"] for r in here):
            some = [r for r in here if r["method"] == method]
            ratios = sorted(r["seconds"] / ours[r["seed"]] for r in some if r["seed"] in ours)
            accs = [100 * r["acc"] for r in some]
            lines.append(
                [
                    name, method, f"{np.median([r['seconds'] for r in some]):.1f}",
                    f"{np.median(ratios):.1f} ({ratios[0]:.1f} to {ratios[-1]:.1f})",
                    f"{np.mean(accs):.1f} ± {np.std(accs):.1f}", str(len(some)),
                ]
            )  # fmt: skip
    head = ["data", "method", "CPU s", "times holdfast's", "ACC", "seeds"]
    return markdown(head, lines)


if __name__ == "__main__":
    torch.set_num_threads(1)
    warnings.simplefilter("ignore")
    if sys.argv[1:2] == ["run"]:  # run [SEED,SEED,... [DATA]]
        chosen = sys.argv[2] if len(sys.argv) > 2 else "0,1,2"
        run([int(seed) for seed in chosen.split(",")], *sys.argv[3:4])
    else:
        print(describe(), table(), sep="\n\n")
