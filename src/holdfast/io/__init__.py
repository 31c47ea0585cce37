"""Files: tables of embeddings, tensor folders and atomic writes. This room knows no estimator."""

from holdfast.io.embeddings import Embeddings
from holdfast.io.tables import (
    TABLE_SUFFIXES,
    check_table_source,
    check_table_target,
    read_embeddings,
    table_shape,
    write_embeddings,
)

__all__ = [
    "TABLE_SUFFIXES",
    "Embeddings",
    "check_table_source",
    "check_table_target",
    "read_embeddings",
    "table_shape",
    "write_embeddings",
]
