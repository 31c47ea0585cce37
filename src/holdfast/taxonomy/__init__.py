"""Taxonomies: what a fit leaves behind, so that its labels can be used, checked and, later, kept."""

from holdfast.taxonomy.store import (
    WORK_FOLDER,
    AssignmentTable,
    TaxonomyFolder,
    check_assignment_target,
    check_target,
    create_taxonomy,
    is_taxonomy,
    open_taxonomy,
    write_assignments,
)

__all__ = [
    "WORK_FOLDER",
    "AssignmentTable",
    "TaxonomyFolder",
    "check_assignment_target",
    "check_target",
    "create_taxonomy",
    "is_taxonomy",
    "open_taxonomy",
    "write_assignments",
]
