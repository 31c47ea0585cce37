"""One method on one table with one seed, in a process of its own.

So the seconds and the memory are its own, and what kills it costs one line of the comparison. The process
is handed the rows (a .npy file, mapped), what is asked, and nothing else: it never gets to see a label.
"""

from __future__ import annotations

import json
import logging
import os
import re
import signal
import subprocess
import sys
import threading
import time
import traceback
import warnings
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from holdfast.exceptions import HoldfastError, HoldfastWarning
from holdfast.io.atomic import write_json

if TYPE_CHECKING:
    from holdfast.cluster._rivals import Asked, Partition, Rival

__all__ = ["Answer", "Question", "answer", "ask"]

logger = logging.getLogger(__name__)

# The search path is the caller's own, taken over before anything else could be found in the present folder.
_PROGRAM = (
    "import sys; sys.path[:] = sys.argv[2:]; from holdfast.cli.trials import answer; answer(sys.argv[1])"
)
_ANSWER, _LABELS, _SAID = "answer.json", "labels.npy", "said.txt"
_STATUS, _RESET = Path("/proc/self/status"), Path("/proc/self/clear_refs")
_PAGE = 1024  # values in a page of memory: 4 KB of float32
_WARM_ROWS = 32
_REMEDY = "give fewer rows, or leave it out with --methods"


@dataclass(frozen=True)
class Question:
    """What a process is asked: the file of the rows, the method, and what the method is told."""

    rows: str
    method: str
    n_clusters: int
    seed: int
    eps: float | None
    device: str


@dataclass(frozen=True, eq=False)
class Answer:
    """What came back.

    Attributes
    ----------
    labels : ndarray of shape (n,) or None
        Cluster of each row, -1 for noise; None if the method failed.
    reason : str or None
        One sentence that says why it failed.
    is_final : bool
        Whether another seed would fail as well: the process was killed, or ran out of memory.
    seconds, cpu_seconds : float or None
        Of the method alone: libraries are loaded, and the rows read once, before the clock starts.
    memory_mb : float or None
        Highest resident memory above that at the start, when the rows were in it already.
    threads : int or None
        CPU threads that the numerical libraries used.
    settings : mapping
        What the method decided on the way.
    warnings : tuple of str
        First line of each warning that is meant for users.
    """

    labels: np.ndarray | None = None
    reason: str | None = None
    is_final: bool = False
    seconds: float | None = None
    cpu_seconds: float | None = None
    memory_mb: float | None = None
    threads: int | None = None
    settings: Mapping[str, Any] = field(default_factory=dict)
    warnings: tuple[str, ...] = ()


def ask(question: Question, folder: Path) -> Answer:
    """Put a question to a fresh process and wait for its answer.

    Parameters
    ----------
    question : Question
    folder : Path
        An empty folder for the two processes to exchange files.

    Returns
    -------
    Answer
        Also where the process died. Whatever stops the waiting ends the process first.
    """
    request = json.dumps(asdict(question) | {"folder": str(folder)})
    command = [sys.executable, "-P", "-c", _PROGRAM, request, *sys.path]
    with (folder / _SAID).open("wb") as said:
        process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=said, stderr=said)  # noqa: S603
        try:
            code = process.wait()
        finally:
            process.kill()
            process.communicate()
    logger.debug("%s, seed %d: %s", question.method, question.seed, _said(folder))
    return _read(folder, code)


def answer(request: str) -> None:
    """Answer a question in the process that was started for it."""
    question = json.loads(request)
    folder = Path(question.pop("folder"))
    threading.Thread(target=_end_with_caller, daemon=True).start()
    found = _try(Question(**question), folder)
    write_json(folder / _ANSWER, found)


def _read(folder: Path, code: int) -> Answer:
    try:
        found = json.loads((folder / _ANSWER).read_text(encoding="utf-8"))
    except OSError:
        return Answer(reason=_death(code, folder), is_final=True)
    labels = np.load(folder / _LABELS, allow_pickle=False) if found["reason"] is None else None
    return Answer(labels=labels, **found | {"warnings": tuple(found["warnings"])})


def _death(code: int, folder: Path) -> str:
    """Say in one sentence how a process ended without an answer."""
    if code == -9:  # Windows knows no SIGKILL by name
        return f"The system killed it (signal 9), most likely for want of memory: {_REMEDY}."
    if code < 0:
        with suppress(ValueError):
            return f"It crashed ({signal.Signals(-code).name}): leave it out with --methods."
    last = _said(folder).rpartition("\n")[2] or "it said nothing"
    return f"Its process ended with code {code} ({last}): leave it out with --methods."


def _said(folder: Path) -> str:
    return (folder / _SAID).read_text(encoding="utf-8", errors="replace").strip()


def _end_with_caller() -> None:
    """End this process when the one that waits for it is gone: its end of the pipe closes then."""
    sys.stdin.buffer.read()
    os._exit(1)


def _try(question: Question, folder: Path) -> dict[str, Any]:
    """Let the method work; return everything but the labels, which go to a file."""
    from holdfast.cluster._rivals import Asked, rival

    asked = Asked(question.n_clusters, question.seed, question.eps, question.device)
    # Copied on writing: a method that scribbles on its rows scribbles on its own.
    X = np.load(question.rows, mmap_mode="c", allow_pickle=False)
    method = rival(question.method)
    nothing: dict[str, Any] = {"reason": None, "is_final": False, "warnings": []}
    try:
        _warm_up(method, X.shape[1], asked)
        return nothing | _measure(method, X, asked, folder / _LABELS)
    except MemoryError:
        return nothing | {
            "reason": f"It ran out of memory: {_REMEDY}.",
            "is_final": True,
        }
    except HoldfastError as error:
        return nothing | {"reason": str(error)}
    except Exception as error:  # noqa: BLE001 - whatever it is, the other methods go on
        traceback.print_exc()
        return nothing | {"reason": f"It failed ({type(error).__name__}: {_first_line(error)})."}


def _measure(method: Rival, X: np.ndarray, asked: Asked, target: Path) -> dict[str, Any]:
    from sklearn.exceptions import ConvergenceWarning

    X.reshape(-1)[::_PAGE].sum()  # every page is in memory before the measuring begins
    with warnings.catch_warnings(record=True) as heard:
        warnings.simplefilter("ignore")
        for category in (HoldfastWarning, ConvergenceWarning):
            warnings.simplefilter("always", category)
        before = _Usage.now()
        found: Partition = method.partition(X, asked)
        used = _Usage.now().since(before)
    np.save(target, np.asarray(found.labels, dtype=np.int64), allow_pickle=False)
    said = dict.fromkeys(_first_line(item.message) for item in heard)
    return {**used, "settings": dict(found.settings), "warnings": list(said), "threads": _threads()}


def _warm_up(method: Rival, n_columns: int, asked: Asked) -> None:
    """Try the method on a few random rows, so that no library is loaded under the clock."""
    from dataclasses import replace

    rng = np.random.default_rng(0)
    few = rng.normal(size=(_WARM_ROWS, n_columns)) + 4 * np.sign(rng.normal(size=(_WARM_ROWS, 1)))
    with warnings.catch_warnings(), suppress(Exception):  # what is wrong shows again where it counts
        warnings.simplefilter("ignore")
        method.partition(few.astype(np.float32), replace(asked, n_clusters=2))


@dataclass(frozen=True)
class _Usage:
    """The clocks and the memory of this process."""

    wall: float
    cpu: float
    resident_mb: float | None
    peak_mb: float | None

    @classmethod
    def now(cls) -> _Usage:
        """Read everything; the peak starts anew where the system lets it."""
        peak = _memory("VmHWM")
        with suppress(OSError):
            _RESET.write_text("5")
        return cls(time.perf_counter(), time.process_time(), _memory("VmRSS"), peak)

    def since(self, before: _Usage) -> dict[str, float | None]:
        """Return what was used in between."""
        known = self.peak_mb is not None and before.resident_mb is not None
        above = max(0.0, (self.peak_mb or 0) - (before.resident_mb or 0)) if known else None
        return {
            "seconds": self.wall - before.wall,
            "cpu_seconds": self.cpu - before.cpu,
            "memory_mb": above,
        }


def _memory(name: str) -> float | None:
    """Return a figure of this process in MB, or None where the system does not tell (it is not Linux)."""
    try:
        match = re.search(rf"{name}:\s+(\d+) kB", _STATUS.read_text())
    except OSError:
        return None
    return int(match.group(1)) / 1024 if match else None


def _threads() -> int:
    """Return how many CPU threads the numerical libraries may use."""
    import torch
    from threadpoolctl import threadpool_info  # type: ignore[import-untyped]

    return max([torch.get_num_threads(), *(int(pool["num_threads"]) for pool in threadpool_info())])


def _first_line(message: object) -> str:
    return str(message).strip().partition("\n")[0].rstrip(".") or "no message"
