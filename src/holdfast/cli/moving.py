"""The animation of a mixture: whether there is one, and where it goes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from holdfast.report import Report
    from holdfast.taxonomy import TaxonomyFolder

__all__ = ["animation_name", "write_animation_of"]


def animation_name(model: Any, taxonomy: TaxonomyFolder) -> str | None:
    """Return the name of the file that will show how a mixture came about; None where nothing moved."""
    return None if getattr(model, "path_", None) is None else taxonomy.animation_path.name


def write_animation_of(report: Report, taxonomy: TaxonomyFolder) -> None:
    """Write the animation that the report speaks of, if it speaks of one."""
    from holdfast.report.mixture_gif import write_animation

    if report.mixture is not None and report.mixture.animation is not None:
        write_animation(report.mixture, taxonomy.animation_path)
