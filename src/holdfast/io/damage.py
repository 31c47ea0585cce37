"""What libraries raise about foreign or damaged files, as sentences."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from holdfast.exceptions import HoldfastError, TableError

__all__ = ["damage_as_table_errors", "too_large"]


@contextmanager
def damage_as_table_errors(kind: str) -> Iterator[None]:
    """Turn whatever a broken byte led a library to into one sentence; what the system refuses stays.

    Parameters
    ----------
    kind : str
        What the file should have been: "Parquet", "NumPy".
    """
    try:
        yield
    except (HoldfastError, RecursionError):
        raise
    except MemoryError as error:
        raise too_large(error) from error
    except Exception as error:
        if isinstance(error, OSError) and error.errno is not None:
            raise
        raise TableError(f"is damaged or no {kind} file ({_one_line(error)}): write it again.") from error


def too_large(error: MemoryError) -> TableError:
    """Say that a table does not fit the memory; a damaged one may only pretend to be so large."""
    return TableError(
        f"needs more memory than there is ({_one_line(error)}): give fewer rows, or write it again if it "
        "should be smaller."
    )


def _one_line(error: Exception) -> str:
    """Shorten a library's message, which can run over many lines."""
    lines = str(error).split("\n")
    return " ".join(lines[0].split()).rstrip(".:") or type(error).__name__
