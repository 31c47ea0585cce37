"""What every test may ask for: the shared data where there is any, the digits, and a calm machine."""

import os
import signal
from pathlib import Path
from typing import NamedTuple

# Two workers of pytest share two cores; libraries that start a thread per core each make an epoch many times
# slower. Set before anything imports numpy or torch; a value given by the caller stands.
for _variable in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ.setdefault(_variable, "1")
os.environ.setdefault("HF_HUB_OFFLINE", "1")  # a test that wants the network is a wrong test

import numpy as np  # noqa: E402 - the environment above comes first
import pytest  # noqa: E402
from hypothesis import settings  # noqa: E402

if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    # A shell's background job ignores Ctrl-C, and so do its children: tests send it to theirs.
    signal.signal(signal.SIGINT, signal.default_int_handler)

REPOSITORY = Path(__file__).resolve().parent.parent

settings.register_profile("holdfast", deadline=None, max_examples=50, derandomize=True, database=None)
settings.load_profile("holdfast")


class Digits(NamedTuple):
    """The 1,797 handwritten digits that scikit-learn carries."""

    X: np.ndarray  # (1797, 64) float32 in [0, 1]
    y: np.ndarray  # (1797,) int, 0..9; for scoring only


@pytest.fixture(scope="session")
def data_dir() -> Path:
    """Return the folder of shared data sets, or skip."""
    folder = Path(os.environ.get("HOLDFAST_DATA", REPOSITORY.parent / "shared" / "data"))
    if not folder.is_dir():
        pytest.skip(f"needs the shared data: set HOLDFAST_DATA to its folder (looked at {folder})")
    return folder


@pytest.fixture(scope="session")
def _loaded_digits() -> Digits:
    from sklearn.datasets import load_digits

    X, y = load_digits(return_X_y=True)
    return Digits((X / 16).astype(np.float32), y)


@pytest.fixture
def digits(_loaded_digits: Digits) -> Digits:
    """Return the digits; each test has its own copy, so none can spoil another's."""
    return Digits(_loaded_digits.X.copy(), _loaded_digits.y.copy())
