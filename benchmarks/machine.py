"""What the measurements were made on, and how much memory they took."""

from __future__ import annotations

import os
import platform
import re
from importlib.metadata import version
from pathlib import Path

_STATUS, _RESET = Path("/proc/self/status"), Path("/proc/self/clear_refs")


def describe() -> str:
    """One line that names the machine and the libraries."""
    cpu = re.search(r"model name\s*: (.*)", Path("/proc/cpuinfo").read_text())
    libraries = ", ".join(f"{name} {version(name)}" for name in ("torch", "numpy", "scikit-learn"))
    threads = os.environ.get("OMP_NUM_THREADS", "all")
    return (
        f"Machine: {cpu.group(1) if cpu else platform.processor()}, {os.cpu_count()} cores "
        f"(OMP_NUM_THREADS={threads}), no GPU; Python {platform.python_version()}, {libraries}."
    )


class PeakMemory:
    """Peak resident memory inside a ``with`` block, above what was resident at its start (Linux)."""

    megabytes = 0.0

    def __enter__(self) -> PeakMemory:
        _RESET.write_text("5")  # forget the peak so far
        self._start = _resident("VmRSS")
        return self

    def __exit__(self, *_: object) -> None:
        self.megabytes = (_resident("VmHWM") - self._start) / 1024


def _resident(field: str) -> int:
    match = re.search(rf"{field}:\s+(\d+) kB", _STATUS.read_text())
    return int(match.group(1)) if match else 0
