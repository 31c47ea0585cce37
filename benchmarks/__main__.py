"""``python -m benchmarks``: measure quality (repeating nothing that is there), then cost, and print both."""

from benchmarks import cost, quality
from benchmarks.datasets import PIXELS
from benchmarks.machine import describe
from benchmarks.tables import quality_tables, read_records

quality.run(None, list(quality.METHODS), range(5))
cost.run([name for name in quality.METHODS if name != "published"])
print(describe(), quality_tables(read_records(quality.RESULTS), PIXELS), cost.table(), sep="\n\n")
