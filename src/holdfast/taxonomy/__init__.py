"""Taxonomies: what a fit leaves behind, so that its labels can be used, checked and, later, kept."""

from holdfast.taxonomy.assignments import AssignmentTable, check_assignment_target, write_assignments
from holdfast.taxonomy.store import (
    TRAINING_FOLDER,
    WORK_FOLDER,
    TaxonomyFolder,
    check_target,
    create_taxonomy,
    is_taxonomy,
    open_taxonomy,
)

__all__ = [
    "TRAINING_FOLDER",
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
