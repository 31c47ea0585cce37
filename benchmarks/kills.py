"""Twenty fits killed (``SIGKILL``) at random moments, each resumed: are all results the same?

``python -m benchmarks.kills [N]`` prints one line a kill and the verdict. Half of the fits write their
checkpoint after every epoch, half every second; moments are drawn over the whole life of the process, so
some fall into the imports, some into the search for starts, some into a write.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

from benchmarks.machine import describe
from benchmarks.synthetic import embedding_like

_PROGRAM = """
import hashlib, sys, warnings
import numpy as np
from holdfast import DEC
from holdfast.training import checkpoint
warnings.simplefilter("ignore")
checkpoint.EVERY = float(sys.argv[3])
model = DEC(20, n_init=5, tol=0.0, random_state=0, checkpoint=sys.argv[2] or None).fit(np.load(sys.argv[1]))
total = hashlib.sha256(model.labels_.tobytes() + model.start_labels_.tobytes())
for name, value in sorted(model.module_.state_dict().items()):
    total.update(name.encode() + value.numpy().tobytes())
total.update(repr((model.history_, model.evidence_, model.n_iter_, model.converged_)).encode())
print(total.hexdigest())
"""


def fit(X: Path, checkpoint: str, every: float, kill_after: float | None = None) -> str | None:
    """Digest of everything a fit has learned; None if it was killed before."""
    command = [sys.executable, "-c", _PROGRAM, str(X), checkpoint, str(every)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    try:
        out, _ = process.communicate(timeout=kill_after)
    except subprocess.TimeoutExpired:
        process.kill()
        process.communicate()
        return None
    if process.returncode:
        raise RuntimeError("the fit failed; see its traceback above")
    return out.strip()


def main(n_kills: int) -> None:
    print(describe())
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "X.npy"
        np.save(path, embedding_like(6_000, 128, 20, spread=2.4)[0])
        begin = time.perf_counter()
        undisturbed = fit(path, "", 0)
        whole = time.perf_counter() - begin
        moments = np.random.default_rng(0).uniform(0.1, 1.0, n_kills) * whole
        equal = killed = kept = 0
        for number, moment in enumerate(moments):
            checkpoint = Path(folder) / f"checkpoint-{number}"
            every = number % 2
            first = fit(path, str(checkpoint), every, kill_after=moment)
            killed += first is None
            records = len(list(checkpoint.glob("*/manifest.json")))
            kept += records > 0
            answer = first or fit(path, str(checkpoint), every)
            equal += answer == undisturbed and not checkpoint.exists()
            verdict = "equal" if answer == undisturbed else "DIFFERENT"
            print(f"after {moment:5.1f} of {whole:.1f} s: {records} records, {verdict}", flush=True)
    print(f"{killed} fits killed, {kept} of them with a checkpoint; {equal} of {n_kills} results equal.")


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 20)
