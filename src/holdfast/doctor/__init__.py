"""The doctor: explains a table, a model or a past run in findings, each with a remedy."""

from holdfast.doctor.examine import examine
from holdfast.doctor.findings import Diagnosis, Finding

__all__ = ["Diagnosis", "Finding", "examine"]
