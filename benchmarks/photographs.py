"""The whole ``holdfast run`` on the clothing photographs: seconds of each step, peak memory, scores.

``python -m benchmarks.photographs`` prints a Markdown table and the scores. Needs the shared data folder.
"""

from __future__ import annotations

import json
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from benchmarks.datasets import data_folder
from benchmarks.machine import describe


def run(out: Path) -> tuple[dict, float, float]:
    """Run the command; return what it left in run.json, its seconds, and its peak memory in MB."""
    command = [
        sys.executable, "-m", "holdfast", "run", str(data_folder() / "clothing"),
        "--encoder", str(data_folder() / "vit-tiny"), "--n-clusters", "10", "-o", str(out), "--json",
    ]  # fmt: skip
    started = time.perf_counter()
    subprocess.run(command, check=True, capture_output=True)
    seconds = time.perf_counter() - started
    peak = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1024
    return json.loads((out / "run.json").read_text()), seconds, peak


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "out"
        record, seconds, peak = run(out)
        report = (out / "report.html").stat().st_size / 1e6
    steps = " | ".join(f"{name} {value:.1f} s" for name, value in record["seconds"].items())
    scores = ", ".join(
        f"{name.upper()} {100 * value:.1f}" for name, value in record["scores"]["result"].items()
    )
    print(describe())
    print(
        f"{record['n']:,} photographs in {seconds:.0f} s ({steps}), "
        f"peak memory {peak:.0f} MB, report {report:.1f} MB"
    )
    print(f"{scores}; start: {record['start']}, evidence {record['evidence']}")


if __name__ == "__main__":
    main()
