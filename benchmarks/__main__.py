"""``python -m benchmarks``: measure quality (repeating nothing that is there), then cost, and print both."""

from benchmarks import cost, quality
from benchmarks.datasets import PIXELS
from benchmarks.machine import describe
from benchmarks.tables import quality_tables

quality.run(None, list(quality.METHODS), range(5))
cost.run([name for name in quality.METHODS if name != "published"])
print(describe(), quality_tables(quality.read(), PIXELS), cost.table(), sep="\n\n")
