"""Embeddings in CSV, the dialect in use out there: one JSON list per row in a column ``embeddings``."""

from __future__ import annotations

import csv
import json
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from holdfast._validation import row_text
from holdfast.exceptions import TableError
from holdfast.io._columns import find_column, vector_column
from holdfast.io._stored import Stored
from holdfast.io.embeddings import Embeddings
from holdfast.io.raw import Columns, Reading

__all__ = ["read", "write"]

_BLOCK_ROWS = 1024  # of Python floats at once, which take eight times the room


def read(path: Path, how: Reading) -> Columns:
    """Read a CSV file with a header."""
    with path.open(encoding="utf-8-sig", newline="") as stream, _any_field_size():
        try:
            return _read_rows(csv.DictReader(stream, strict=True), how)
        except csv.Error as error:
            raise TableError(
                f"is no well-formed CSV ({error}): quote every list and close every quote."
            ) from error
        except UnicodeDecodeError as error:
            raise TableError("is not written in UTF-8: save it as UTF-8.") from error


def write(emb: Embeddings, X: Stored, path: Path) -> None:
    """Write columns ``id``, ``embeddings`` and what there is of ``labels``, ``path`` and ``encoder``."""
    beside = {"labels": emb.labels, "path": emb.paths}
    present = {name: values for name, values in beside.items() if values is not None}
    encoder = [] if emb.encoder is None else [emb.encoder]
    with path.open("w", encoding="utf-8", newline="") as stream:
        # Python 3.11 and 3.12 forget to quote a carriage return alone.
        odd = any("\r" in text for column in (emb.ids, *present.values()) for text in map(str, column))
        writer = csv.writer(stream, lineterminator="\n", quoting=csv.QUOTE_ALL if odd else csv.QUOTE_MINIMAL)
        writer.writerow(["id", "embeddings", *present, *(["encoder"] if encoder else [])])
        for rows, block in X.blocks(_BLOCK_ROWS):
            vectors = map(json.dumps, block.tolist())
            columns = [emb.ids[rows], vectors, *(values[rows] for values in present.values())]
            writer.writerows([*row, *encoder] for row in zip(*columns, strict=True))


def _read_rows(reader: csv.DictReader, how: Reading) -> Columns:
    """Collect the rows, one float32 array each: Python floats would take eight times the room."""
    names = list(reader.fieldnames or ())
    vectors_in = vector_column(names, "write each as a list like [0.1, 0.2] in one column 'embeddings'")
    beside = {role: find_column(role, names) for role in ("ids", "labels", "paths", "encoder")}
    vectors: list[npt.NDArray[np.float32]] = []
    texts: dict[str, list[str]] = {role: [] for role, name in beside.items() if name is not None}
    for number, row in enumerate(reader):
        where = f"{row_text(number, row.get(beside['ids'] or ''))} on line {reader.line_num}"
        _check_fields(row, where)
        vectors.append(_vector(row[vectors_in], where, gaps=how.gaps))
        _check_width(vectors, where)
        for role, column in texts.items():
            column.append(row[str(beside[role])])
    if not vectors:
        raise TableError("has no rows below its header: give at least one.")
    return Columns(
        X=np.stack(vectors),
        ids=_objects(texts["ids"]) if "ids" in texts else None,
        labels=_labels(texts["labels"]) if "labels" in texts else None,
        paths=_objects(texts["paths"]) if "paths" in texts else None,
        encoder=_encoder(texts.get("encoder", [])),
    )


def _check_fields(row: dict[Any, Any], where: str) -> None:
    """Refuse a row with more or fewer fields than the header; most often a list was not quoted."""
    if None in row or None in row.values():
        raise TableError(f"{where} has another number of fields than the header: quote the list.")


def _vector(text: str, where: str, *, gaps: bool) -> npt.NDArray[np.float32]:
    """Parse one JSON list of numbers; `null` is a gap like any other."""
    try:
        values = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise TableError(f"{where} is broken JSON ({error}): write a list like [0.1, 0.2].") from error
    kinds = (int, float, type(None)) if gaps else (int, float)
    if not isinstance(values, list) or not all(type(value) in kinds for value in values):
        raise TableError(f"{where} is no list of numbers: write a list like [0.1, 0.2], with no gaps.")
    try:
        with np.errstate(over="ignore"):
            vector = np.asarray(values, dtype=np.float64).astype(np.float32)
    except OverflowError as error:  # JSON's whole numbers have no end
        raise TableError(f"{where} has a number that is too large: scale the vectors down.") from error
    if not gaps and not np.isfinite(vector).all():
        raise TableError(f"{where} has a NaN or an infinity: remove the row or fill the gap.")
    return vector


def _check_width(vectors: list[npt.NDArray[np.float32]], where: str) -> None:
    """Refuse a row as soon as its width differs from the first one's."""
    if len(vectors[-1]) != len(vectors[0]):
        raise TableError(
            f"{where} has {len(vectors[-1])} values and row 0 has {len(vectors[0])}: "
            "give all rows the same width."
        )


def _labels(texts: list[str]) -> npt.NDArray[Any]:
    """Return integers if every label is written the way an integer prints, texts otherwise ("007")."""
    try:
        numbers = [int(text) for text in texts]
        same = all(str(number) == text for number, text in zip(numbers, texts, strict=True))
        return np.asarray(numbers, dtype=np.int64) if same else _objects(texts)
    except (ValueError, OverflowError):
        return _objects(texts)


def _objects(texts: list[str]) -> npt.NDArray[Any]:
    """Keep texts as they are: an array of fixed width is made once their lengths have been checked."""
    return np.asarray(texts, dtype=object)


def _encoder(texts: list[str]) -> str | None:
    """Return the recipe that all rows share."""
    for number, text in enumerate(texts):
        if text != texts[0]:
            raise TableError(
                f"row {number} has another encoder than row 0: do not mix vectors of two encoders."
            )
    return texts[0] or None if texts else None


@contextmanager
def _any_field_size() -> Iterator[None]:
    """Lift the csv module's limit of 131,072 characters a field: wide vectors need more."""
    before = csv.field_size_limit(sys.maxsize)
    try:
        yield
    finally:
        csv.field_size_limit(before)
