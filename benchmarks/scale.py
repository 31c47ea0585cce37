"""Time and memory of one fit at 10,000, 100,000 and a million rows of 768 half-precision values, K = 100.

``python -m benchmarks.scale run METHOD [N ...]`` (``dec``, ``consensus`` or ``fast``, the consensus of one
graph) writes ``results/scale.jsonl``, each fit in a process of its own on
a memory map in the system's temporary folder (1.5 GB for a million rows); ``table`` prints Markdown.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
import threading
import time
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np

from benchmarks.machine import describe
from benchmarks.synthetic import blocks
from benchmarks.tables import markdown

RESULTS = Path(__file__).parent / "results" / "scale.jsonl"
D, K = 768, 100
SIZES = (10_000, 100_000, 1_000_000)
_STATUS = Path("/proc/self/status")


def write_map(folder: Path, n: int) -> Path:
    """Write X.npy (n, 768) float16 and y.npy, block by block."""
    path = folder / "X.npy"
    X = np.lib.format.open_memmap(path, "w+", dtype=np.float16, shape=(n, D))
    y = np.empty(n, dtype=np.int64)
    for rows, block, classes in blocks(n, D, K, seed=0, spread=1.6):
        X[rows], y[rows] = block, classes
    X.flush()
    np.save(folder / "y.npy", y)
    return path


def one(path: Path, method: str) -> dict:
    """Fit and predict in this process; what came before the fit does not count."""
    import torch  # the interpreter with its libraries is not the fit's memory

    import holdfast as hf
    from holdfast.metrics import score

    X, y = np.load(path, mmap_mode="r"), np.load(path.with_name("y.npy"))
    torch.optim.Adam([torch.nn.Parameter(torch.zeros(1))], fused=True).step()  # loads what it loads
    warnings.simplefilter("ignore")
    model = {
        "dec": lambda: hf.DEC(K, random_state=0),
        "consensus": lambda: hf.ConsensusClustering(K, random_state=0),
        "fast": lambda: hf.ConsensusClustering(K, preset="fast", random_state=0),
    }[method]()
    with peaks() as memory:
        wall, cpu = time.perf_counter(), time.process_time()
        model.fit(X)
        wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
    with peaks() as memory_of_assign:
        begin = time.perf_counter()
        model.assign_rows(X)
        assign = time.perf_counter() - begin
    return {
        "method": method, "n": len(X), "wall": wall, "cpu": cpu, "threads": torch.get_num_threads(),
        "assign": assign,
        "peak_mb": memory["VmRSS"], "anonymous_mb": memory["RssAnon"], "assign_mb": memory_of_assign["VmRSS"],
        "acc": score(y, model.labels_)["acc"], "recall": model.neighbour_recall_, "start": model.start_,
    }  # fmt: skip


@contextmanager
def peaks() -> Iterator[dict[str, float]]:
    """Peak megabytes above the start: of all resident pages, and of those that are no file's."""
    start, most, over = resident(), resident(), threading.Event()

    def watch() -> None:
        while not over.wait(0.02):
            for name, value in resident().items():
                most[name] = max(most[name], value)

    thread = threading.Thread(target=watch)
    found: dict[str, float] = {}
    thread.start()
    try:
        yield found
    finally:
        over.set()
        thread.join()
        found |= {name: most[name] - start[name] for name in most}


def resident() -> dict[str, float]:
    fields = dict(line.split(":", 1) for line in _STATUS.read_text().splitlines())
    return {name: int(fields[name].split()[0]) / 1024 for name in ("VmRSS", "RssAnon")}


def run(method: str, sizes: list[int]) -> None:
    for n in sizes:
        with tempfile.TemporaryDirectory() as folder:
            path = write_map(Path(folder), n)
            command = [sys.executable, "-m", "benchmarks.scale", "one", method, str(path)]
            line = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True).stdout
        with RESULTS.open("a") as file:
            file.write(line)
        print(line, flush=True)


def table() -> str:
    columns = {
        "method": lambda r: r.get("method", "dec"),
        "rows": lambda r: f"{r['n']:,}",
        "CPU s": lambda r: f"{r['cpu']:.0f}",
        "wall s (threads)": lambda r: f"{r['wall']:.0f} ({r['threads']})",
        "peak MB": lambda r: f"{r['peak_mb']:.0f}",
        "of it no file's": lambda r: f"{r['anonymous_mb']:.0f}",
        "assigned a second": lambda r: f"{r['n'] / r['assign']:,.0f}",
        "peak MB of that": lambda r: f"{r['assign_mb']:.0f}",
        "ACC": lambda r: f"{100 * r['acc']:.1f}",
        "recall": lambda r: f"{r['recall']:.3f}",
    }
    records = [json.loads(line) for line in RESULTS.read_text().splitlines()]
    return markdown(list(columns), [[cell(record) for cell in columns.values()] for record in records])


if __name__ == "__main__":
    match sys.argv[1:]:
        case ["one", method, path]:
            print(json.dumps(one(Path(path), method)))
        case ["run", method, *sizes]:
            run(method, [int(size) for size in sizes] or list(SIZES))
        case _:
            print(describe(), table(), sep="\n\n")
