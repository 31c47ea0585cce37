"""`Embeddings` itself: what is brought into form, and the sentence for what does not fit."""

import numpy as np
import pytest

from holdfast.exceptions import InputError
from holdfast.io import Embeddings


def test_parts_are_brought_into_form():
    emb = Embeddings(ids=[10, 11], X=[[1, 2], [3, 4]], labels=[1.0, 0.0], paths=None)
    assert emb.ids.tolist() == ["10", "11"]
    assert (emb.X.dtype, emb.labels.dtype) == (np.float32, np.int64)
    assert len(emb) == 2


def test_float32_is_not_copied():
    X = np.ones((3, 2), dtype=np.float32)
    assert Embeddings(ids=["a", "b", "c"], X=X).X is X


def test_fields_cannot_be_assigned():
    emb = Embeddings(**GOOD)
    with pytest.raises(AttributeError):
        emb.X = emb.X


GOOD = {"ids": ["a", "b", "c"], "X": np.eye(3)}


@pytest.mark.parametrize(
    ("parts", "sentence"),
    [
        ({"X": np.ones(3)}, "X has 1 dimensions: give one row per item, shape (n, d)."),
        ({"X": np.ones((0, 4))}, "X has 0 rows and 4 columns: give at least one of each."),
        ({"X": [[1, 2], [3]]}, "X has rows of different lengths: give all of them the same."),
        ({"X": np.array([["a"], ["b"], ["c"]])}, "X holds <U1 values: give numbers."),
        (
            {"X": np.full((3, 1), 1e300)},
            "X has a NaN or an infinity in row 0 (id 'a') and 2 more rows: remove them or fill the gaps.",
        ),
        ({"ids": ["a", "b"]}, "ids has 2 entries for 3 rows of X: give one per row."),
        ({"ids": ["a", "b", "a"]}, "The id 'a' is in row 0 and in row 2: rename or drop one of them."),
        ({"ids": ["a", "", "c"]}, "ids is empty in row 1: give every row one."),
        ({"ids": ["a", None, "c"]}, "ids is empty in row 1: give every row one."),
        (
            {"ids": np.array(["a", "b", float("nan")], dtype=object)},
            "ids is empty in row 2: give every row one.",
        ),
        ({"ids": [["a"], ["b"], ["c"]]}, "ids has 2 dimensions: give one value per row."),
        ({"labels": [0, 1]}, "labels has 2 entries for 3 rows of X: give one per row."),
        (
            {"labels": [0, 1, float("nan")]},
            "labels has nan in row 2: give a whole number or a name in every row.",
        ),
        ({"labels": [0, 1.5, 2]}, "labels has 1.5 in row 1: give a whole number or a name in every row."),
        ({"paths": ["a"]}, "paths has 1 entries for 3 rows of X: give one per row."),
    ],
)
def test_parts_that_do_not_fit(parts, sentence):
    with pytest.raises(InputError) as caught:
        Embeddings(**(GOOD | parts))
    assert str(caught.value) == sentence
