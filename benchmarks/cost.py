"""Seconds and peak memory of one fit, each in a process of its own, one after another.

``python -m benchmarks.cost run`` writes ``results/cost.jsonl``; ``table`` prints it. Run it on a quiet
machine: quality.py may run several processes at once, so its seconds are no measurements.
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

from benchmarks.datasets import datasets
from benchmarks.machine import describe
from benchmarks.quality import METHODS, measure, neighbours_of
from benchmarks.tables import cost_table

RESULTS = Path(__file__).parent / "results" / "cost.jsonl"


def one(name: str, method: str) -> dict:
    """Measure one method on one set, here and now."""
    (data,) = datasets([name])
    return measure(data, method, 0, neighbours_of(data))


def run(methods: list[str]) -> None:
    """Measure every method on every set, each in a fresh process."""
    RESULTS.unlink(missing_ok=True)
    for data in datasets():
        for method in methods:
            command = [sys.executable, "-m", "benchmarks.cost", "one", data.name, method]
            line = subprocess.run(command, capture_output=True, text=True, check=True).stdout
            with RESULTS.open("a") as file:
                file.write(line)
            record = json.loads(line)
            print(f"{data.name} {method} {record['seconds']:.1f} s {record['peak_mb']:.0f} MB", flush=True)


def table() -> str:
    """The measurements as a Markdown table."""
    records = [json.loads(line) for line in RESULTS.read_text().splitlines()]
    return cost_table(records)


def main(arguments: list[str]) -> None:
    match arguments:
        case ["one", name, method]:
            print(json.dumps(one(name, method)))
        case ["run", *methods]:
            run(methods or [name for name in METHODS if name != "published"])
        case _:
            print(describe(), table(), sep="\n\n")


if __name__ == "__main__":
    main(sys.argv[1:])
