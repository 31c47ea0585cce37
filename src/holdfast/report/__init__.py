"""The report: what was clustered and whether to trust it, as data first and one HTML file last."""

from __future__ import annotations

from holdfast.report.build import build_report
from holdfast.report.render import render_report, write_report
from holdfast.report.tree import Report

__all__ = ["Report", "build_report", "render_report", "write_report"]
