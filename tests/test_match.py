"""The bridge between two runs: worked by hand, invariant under what must not matter, and as a command."""

from __future__ import annotations

from itertools import permutations

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from commands import invoke, make_table, succeed, succeed_json
from holdfast import metrics
from holdfast.exceptions import TableError
from holdfast.functional.matching import bridge, contingency
from holdfast.taxonomy import AssignmentTable, open_taxonomy, write_assignments
from holdfast.taxonomy.bridge import match_runs, read_partition

COUNTS = arrays.arrays(
    np.int64, arrays.array_shapes(min_dims=2, max_dims=2, max_side=5), elements=st.integers(0, 9)
)


def told(counts, *sizes):
    return [(p.new, p.old, p.shared, p.kind, p.sources) for p in bridge(np.array(counts), *sizes).pillars]


# --- by hand --------------------------------------------------------------------------------------------


def test_equal_partitions_under_other_names():
    assert told([[0, 7], [5, 0]]) == [(0, 1, 5, "same", ()), (1, 0, 7, "same", ())]


def test_shares_and_jaccard_by_hand():
    pillar = bridge(np.array([[30, 10], [2, 58]])).pillars[0]
    assert (pillar.share_old, pillar.share_new, pillar.jaccard) == (30 / 40, 30 / 32, 30 / 42)
    assert pillar.kind == "shrunk"


def test_a_cluster_that_breaks_in_two():
    assert told([[60, 40]]) == [(0, 0, 60, "split from", (0,)), (1, None, 40, "split from", (0,))]


def test_a_crumb_that_breaks_off_leaves_the_cluster_the_same():
    assert told([[95, 5]]) == [(0, 0, 95, "same", ()), (1, None, 5, "split from", (0,))]


def test_two_clusters_that_become_one():
    assert told([[60], [40]]) == [(0, 0, 60, "merged from", (0, 1))]


def test_grown_and_shrunk_at_the_cost_of_each_other():
    assert told([[80, 20], [0, 50]]) == [(0, 0, 80, "shrunk", ()), (1, 1, 50, "grown", ())]


def test_a_cluster_of_crumbs_is_new_and_what_it_replaced_is_gone():
    counts = [[80, 0, 20], [0, 80, 20], [15, 15, 20]]
    assert told(counts) == [
        (0, 0, 80, "shrunk", ()),
        (1, 1, 80, "shrunk", ()),
        (2, None, 0, "new", ()),
        (None, 2, 0, "gone", ()),
    ]


def test_items_that_left_for_noise_count_for_their_cluster():
    assert told([[50]]) == [(0, 0, 50, "same", ())]
    assert told([[50]], [80], [50]) == [(0, 0, 50, "shrunk", ())]
    assert told([[50]], [200], [50]) == [(0, 0, 50, "split from", (0,))]  # most of it is in no cluster now
    assert told([[50]], [200], [200]) == [(0, None, 0, "new", ()), (None, 0, 0, "gone", ())]


def test_as_many_items_as_possible_even_against_the_largest_overlap():
    """Greedily 0 -> 0 with 10 would leave 1 -> 1 with nothing; together 9 + 9 are more."""
    found = bridge(np.array([[10, 9], [9, 0]]))
    assert found.partner == {0: 1, 1: 0}
    assert (found.n_kept, found.n_items) == (18, 28)


def test_of_equal_maps_the_one_that_is_more_alike():
    """Both maps keep 4 items; 2 of 3 and 2 of 2 are more alike than 2 of 4 and 2 of 9."""
    counts = np.array([[2, 2], [2, 2]])
    assert bridge(counts, [9, 3], [4, 2]).n_kept == 4
    assert bridge(counts, [2, 9], [2, 9]).partner[0] == 0
    assert bridge(counts, [2, 9], [9, 2]).partner[1] == 0


def test_counting_leaves_noise_out():
    old, new = np.array([0, 0, 1, -1, 1]), np.array([1, 1, 0, 0, -1])
    assert contingency(old, new, (2, 2)).tolist() == [[0, 2], [1, 0]]


def test_nothing_on_one_side():
    assert told(np.zeros((0, 2), dtype=int)) == [(0, None, 0, "new", ()), (1, None, 0, "new", ())]
    assert told(np.zeros((1, 0), dtype=int)) == [(None, 0, 0, "gone", ())]


# --- whatever the counts --------------------------------------------------------------------------------


@given(COUNTS)
def test_the_bridge_is_one_to_one_and_complete(counts):
    found = bridge(counts)
    n_old, n_new = counts.shape
    assert [p.new for p in found.pillars if p.new is not None] == list(range(n_new))
    assert len(set(found.partner.values())) == len(found.partner)
    named = {p.old for p in found.pillars} | {s for p in found.pillars for s in p.sources}
    assert named - {None} == set(range(n_old))
    assert found.n_items == counts.sum()
    assert found.n_kept == sum(counts[old, new] for new, old in found.partner.items())
    for pillar in found.pillars:
        if pillar.new is not None and pillar.old is not None:
            i, j = pillar.old, pillar.new
            assert pillar.shared == counts[i, j] > 0
            assert max(pillar.share_old, pillar.share_new) >= 0.5
            either = counts[i].sum() + counts[:, j].sum() - counts[i, j]
            assert pillar.jaccard == counts[i, j] / either
            assert pillar.kind not in {"new", "gone"}


@given(arrays.arrays(np.int64, (3, 4), elements=st.integers(0, 9)))
def test_no_other_map_keeps_more(counts):
    best = max(
        sum(
            counts[i, j]
            for i, j in enumerate(columns)
            if 2 * counts[i, j] >= min(counts[i].sum(), counts[:, j].sum())
        )
        for columns in permutations(range(4), 3)
    )
    full = max(sum(counts[i, j] for i, j in enumerate(c)) for c in permutations(range(4), 3))
    kept = bridge(counts).n_kept
    assert kept <= best
    if kept < best:  # a pair that is no pair was part of the best map of all
        assert kept < full


@given(st.permutations(range(20)), st.permutations(range(4)), st.permutations(range(5)))
def test_other_numbers_of_the_clusters_give_the_same_bridge(exponents, rows, columns):
    """Powers of two: no two maps keep equally many items."""
    counts = 2 ** np.array(exponents, dtype=np.int64).reshape(4, 5)
    known = {(p.old, p.new): (p.shared, p.kind, p.sources) for p in bridge(counts).pillars}
    shuffled = bridge(counts[np.ix_(rows, columns)])
    back = {
        (
            None if p.old is None else rows[p.old],
            None if p.new is None else columns[p.new],
        ): (p.shared, p.kind, tuple(sorted(rows[s] for s in p.sources)))
        for p in shuffled.pillars
    }
    assert back == known


@given(st.lists(st.integers(-1, 4), min_size=1, max_size=40), st.permutations(range(5)))
def test_a_partition_and_itself_renamed(old, names):
    old = np.array(old)
    new = np.where(old < 0, -1, np.array(names)[old])
    found = bridge(contingency(old, new, (5, 5)))
    used = set(old[old >= 0].tolist())
    assert {o: n for n, o in found.partner.items()} == {o: names[o] for o in used}
    assert found.n_kept == found.n_items == int((old >= 0).sum())
    assert {p.kind for p in found.pillars if p.old in used} <= {"same"}


# --- tables and folders ---------------------------------------------------------------------------------


def write(path, ids, clusters):
    write_assignments(
        AssignmentTable(np.array(ids), np.array(clusters), np.ones(len(ids), dtype=np.float32)), path
    )
    return path


@pytest.fixture
def runs(tmp_path):
    """Ten items; the second run splits cluster 0, lost item a and gained z."""
    old = write(tmp_path / "old.csv", list("abcdefghij"), [0, 0, 0, 0, 0, 1, 1, 1, -1, -1])
    new = write(tmp_path / "new.parquet", list("zjihgfedcb"), [5, -1, 7, 7, 7, 7, 5, 6, 5, 5])
    return old, new


def test_two_tables_are_joined_by_their_ids(runs):
    found = match_runs(*runs)
    assert (found.n_both, found.n_only_old, found.n_only_new) == (9, 1, 1)
    assert (found.n_noise_old, found.n_noise_new) == (2, 1)
    assert [(s.new, s.old, s.shared, s.story) for s in found.spans] == [
        (5, 0, 3, "split from 0"),
        (6, None, 1, "split from 0"),
        (7, 1, 3, "grown"),
    ]
    assert found.spans[2].share_new == 3 / 4
    assert found.kept == 6 / 9
    assert (found.unmatched_old, found.unmatched_new) == ((), (6,))
    old = [0, 0, 0, 0, 1, 1, 1, -1, -1]
    new = [5, 5, 5, 6, 7, 7, 7, 7, -1]
    assert found.ari == metrics.ari(old, new)


def test_clusters_may_have_names(tmp_path):
    for name, clusters in {"a": ["hat", "hat", "shoe", "-1"], "b": ["b", "b", "a", "a"]}.items():
        pq.write_table(pa.table({"id": [1, 2, 3, 4], "cluster": clusters}), tmp_path / f"{name}.parquet")
    found = match_runs(tmp_path / "a.parquet", tmp_path / "b.parquet")
    assert [(s.new, s.old, s.kind) for s in found.spans] == [("a", "shoe", "grown"), ("b", "hat", "same")]


def test_ids_in_csv_are_texts(tmp_path):
    (tmp_path / "a.csv").write_text("id,cluster\n007,0\n7,1\n")
    assert read_partition(tmp_path / "a.csv").ids.to_pylist() == ["007", "7"]


FAULTS = {
    "no column": ("id,group\na,1\n", "has no column 'cluster': give a table with columns id and cluster, as"),
    "twice": ("id,cluster\na,1\na,2\n", "has the id 'a' more than once: drop all rows of it but one."),
    "gap": ("id,cluster\na,1\nb,\n", "has no cluster in row 1: fill it or drop the row."),
    "no id": ("id,cluster\na,1\n,2\n", "has no id in row 1: fill it or drop the row."),
    "empty": ("id,cluster\n", "has no rows: give at least one."),
    "ragged": ("id,cluster\na,1,2\n", "cannot be read ("),
}


@pytest.mark.parametrize("case", FAULTS)
def test_a_table_that_cannot_be_used_is_named(tmp_path, case):
    text, sentence = FAULTS[case]
    path = tmp_path / "bad.csv"
    path.write_text(text)
    with pytest.raises(TableError) as caught:
        read_partition(path)
    assert str(caught.value).startswith(f"{path} {sentence}")


def test_other_paths_are_refused_in_a_sentence(tmp_path, runs):
    (tmp_path / "a.npz").write_bytes(b"")
    for path, sentence in {
        tmp_path / "none.csv": "does not exist: check the path.",
        tmp_path / "a.npz": "has an unknown suffix: give a taxonomy folder, a .csv or a .parquet.",
        tmp_path: "is no taxonomy folder (run.json is missing): give one that fit or run wrote.",
    }.items():
        result = invoke("match", path, runs[1])
        assert result.exit_code == 2
        assert result.stderr == f"holdfast match: {path} {sentence}\n"


def test_runs_without_a_common_item(tmp_path):
    old, new = write(tmp_path / "a.csv", ["a"], [0]), write(tmp_path / "b.csv", ["b"], [0])
    result = invoke("match", old, new)
    assert result.exit_code == 2
    assert result.stderr == (
        f"holdfast match: {old} and {new} have no id in common ('a' and 'b', for example): give two runs "
        "over the same items, with the same ids.\n"
    )


# --- the command ----------------------------------------------------------------------------------------


def test_match_of_a_taxonomy_with_itself_and_with_its_assignments(tmp_path):
    table = make_table(tmp_path / "emb.parquet")
    out = tmp_path / "out"
    succeed("fit", table, "-o", out, "--n-clusters", 3)
    assigned = write(tmp_path / "a.csv", *_items(out))
    for pair in ((out, out), (out, assigned), (assigned, out)):
        found = succeed_json("match", *pair)
        assert (found["kept"], found["ari"], found["n_both"]) == (1.0, 1.0, 60)
        assert [(c["new"], c["old"], c["shared"], c["kind"]) for c in found["clusters"]] == [
            (k, k, 20, "same") for k in range(3)
        ]


def _items(folder):
    table = open_taxonomy(folder).load_assignments()
    return table.ids, table.cluster


@pytest.mark.parametrize("suffix", [".csv", ".parquet"])
def test_match_writes_the_bridge_and_says_what_it_found(tmp_path, suffix):
    old = write(tmp_path / "old.csv", list("abcdefgh"), [0, 0, 0, 0, 0, 1, 1, 2])
    new = write(tmp_path / "new.csv", list("abcdefgh"), [0, 0, 0, 3, 3, 1, 1, 1])
    path = tmp_path / f"bridge{suffix}"
    text = succeed("match", old, new, "-o", path)
    assert "Items in both: 8 (only in the old run: 0, only in the new: 0).\n" in text
    assert "62.5% of them keep their cluster under this bridge; ARI" in text
    assert "Clusters: 3 -> 3; without a partner: 1 old, 1 new.\n" in text
    assert text.splitlines()[-1] == str(path)
    if suffix == ".parquet":
        stored = pq.read_table(path).to_pydict()
        assert stored["old"] == [0, 1, None]
        assert stored["new"] == [0, 1, 3]
        assert stored["shared"] == [3, 2, 2]
        assert stored["share_old"] == [0.6, 1.0, 0.4]
        assert stored["share_new"] == [1.0, 2 / 3, 1.0]
        assert stored["jaccard"] == [0.6, 2 / 3, 0.4]
        assert stored["kind"] == ["split from 0", "merged from 1, 2", "split from 0"]
    else:
        assert path.read_text().splitlines()[3] == ',3,2,0.4,1,0.4,"split from 0"'


def test_a_bridge_goes_to_a_table_only(tmp_path, runs):
    result = invoke("match", *runs, "-o", tmp_path / "bridge.txt")
    assert result.exit_code == 2
    assert "its name must end in .parquet or .csv" in result.stderr
