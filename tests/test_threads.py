"""Threads: counted from the CPU set, the quotas and the environment; lowered for a while, never raised."""

import json
import os
import subprocess
import sys
import textwrap
from contextlib import suppress

import numpy as np
import pytest
import torch
from threadpoolctl import ThreadpoolController

from commands import ENVIRONMENT
from holdfast import DEC, estimate_n_clusters
from holdfast.cluster import _views
from holdfast.training import report_to, threads
from holdfast.training.threads import available_cpus, within_cpus

FREE = {name: value for name, value in ENVIRONMENT.items() if not name.endswith("_NUM_THREADS")}


@pytest.fixture
def machine(tmp_path, monkeypatch):
    """Make a machine of 16 processors without limits; files written below the path returned limit it."""
    monkeypatch.setattr(threads, "_allowed", lambda: 16)
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)

    def write(groups, **files):
        for name, text in {"proc/self/cgroup": groups, **files}.items():
            place = tmp_path / name
            place.parent.mkdir(parents=True, exist_ok=True)
            place.write_text(text)
        return available_cpus(tmp_path)

    return write


V2, V1 = "sys/fs/cgroup", "sys/fs/cgroup/cpu"

QUOTAS = [
    ("0::/\n", {f"{V2}/cpu.max": "300000 100000\n"}, 3),
    ("0::/\n", {f"{V2}/cpu.max": "250000 100000\n"}, 3),  # two and a half: rounded up
    ("0::/\n", {f"{V2}/cpu.max": "1000 100000\n"}, 1),
    ("0::/\n", {f"{V2}/cpu.max": "max 100000\n"}, 16),
    ("0::/\n", {f"{V2}/cpu.max": "9900000 100000\n"}, 16),  # more than there are
    ("0::/\n", {}, 16),  # the root of a machine has no such file
    ("0::/a/b\n", {f"{V2}/a/b/cpu.max": "max 100000\n", f"{V2}/a/cpu.max": "200000 100000\n"}, 2),
    ("0::/a/b\n", {f"{V2}/a/b/cpu.max": "400000 100000\n", f"{V2}/cpu.max": "500000 100000\n"}, 4),
    ("0::/a\n", {f"{V2}/b/cpu.max": "100000 100000\n"}, 16),  # another's
    ("0::/outside/a/container\n", {f"{V2}/cpu.max": "200000 100000\n"}, 2),  # whose mount begins at it
    (
        "9:memory:/m\n4:cpu,cpuacct:/docker/x\n0::/\n",
        {f"{V1}/docker/x/cpu.cfs_quota_us": "150000\n", f"{V1}/docker/x/cpu.cfs_period_us": "50000\n"},
        3,
    ),
    ("1:cpu:/\n", {f"{V1}/cpu.cfs_quota_us": "-1\n", f"{V1}/cpu.cfs_period_us": "100000\n"}, 16),
    ("1:cpu:/far\n", {f"{V1}/cpu.cfs_quota_us": "200000\n", f"{V1}/cpu.cfs_period_us": "100000\n"}, 2),
    ("1:cpuacct:/\n", {f"{V1}/cpu.cfs_quota_us": "100000\n", f"{V1}/cpu.cfs_period_us": "100000\n"}, 16),
    ("0::/\n", {f"{V2}/cpu.max": "garbage"}, 16),
    ("0::/\n", {f"{V2}/cpu.max": "100000 0\n"}, 16),
    ("0::/\n", {f"{V2}/cpu.max": "\u0664 \u0662\n"}, 16),  # digits, but not the kernel's
    ("nonsense\n\n:\n", {f"{V2}/cpu.max": "100000 100000\n"}, 1),
    ("", {f"{V2}/cpu.max": "100000 100000\n"}, 16),
]


@pytest.mark.parametrize(("groups", "files", "count"), QUOTAS)
def test_quotas(machine, groups, files, count):
    assert machine(groups, **files) == count


def test_without_control_groups_there_is_no_quota(tmp_path, monkeypatch):
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    monkeypatch.setattr(threads, "_allowed", lambda: 5)
    assert available_cpus(tmp_path / "nothing here") == 5


@pytest.mark.parametrize(
    ("asked", "count"),
    [
        ("3", 3),
        (" 2 ", 2),
        ("4,2", 4),
        ("99", 16),
        ("0", 16),
        ("-1", 16),
        ("many", 16),
        ("", 16),
        ("\u00b2", 16),
    ],
)
def test_the_environment_can_ask_for_fewer(machine, monkeypatch, asked, count):
    monkeypatch.setenv("OMP_NUM_THREADS", asked)
    assert machine("0::/\n") == count
    assert machine("0::/\n", **{f"{V2}/cpu.max": "200000 100000\n"}) == min(count, 2)


def test_the_count_of_this_machine(monkeypatch):
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    assert 1 <= available_cpus() <= len(os.sched_getaffinity(0))
    monkeypatch.delattr(os, "sched_getaffinity")  # macOS and Windows have no CPU sets
    monkeypatch.setattr(os, "cpu_count", lambda: None)
    assert available_cpus() == 1


def counts():
    return [torch.get_num_threads(), *(pool["num_threads"] for pool in ThreadpoolController().info())]


with suppress(ImportError):
    import faiss  # noqa: F401 - so that the first fit does not load another pool


@pytest.fixture
def three():
    """Have three threads in torch and in every pool, whatever the machine has."""
    before = torch.get_num_threads()
    torch.set_num_threads(3)
    with ThreadpoolController().limit(limits=3):
        yield [3] * len(counts())
    torch.set_num_threads(before)


@pytest.mark.parametrize("limit", [1, 2, 3, 8])
def test_threads_are_lowered_inside_and_put_back_after(three, limit, monkeypatch):
    monkeypatch.setattr(threads, "available_cpus", lambda: limit)
    assert counts() == three
    with within_cpus() as given:
        assert given == limit
        assert counts() == [min(3, limit)] * len(three), "lowered, never raised"
        with within_cpus():
            assert counts() == [min(3, limit)] * len(three)
        assert counts() == [min(3, limit)] * len(three)
    assert counts() == three
    with pytest.raises(KeyError), within_cpus():
        raise KeyError
    assert counts() == three


def test_only_what_is_above_is_lowered(three, monkeypatch):
    monkeypatch.setattr(threads, "available_cpus", lambda: 2)
    torch.set_num_threads(1)
    with within_cpus(pools=False):
        assert torch.get_num_threads() == 1
    with within_cpus():
        assert torch.get_num_threads() == 1
        assert sorted(set(counts())) == [1, 2]
    assert torch.get_num_threads() == 1


def test_predictions_only_look_at_torch(three, monkeypatch):
    monkeypatch.setattr(threads, "available_cpus", lambda: 1)
    others = [pool["num_threads"] for pool in ThreadpoolController().select(user_api="blas").info()]
    with within_cpus(pools=False):
        assert torch.get_num_threads() == 1
        assert [p["num_threads"] for p in ThreadpoolController().select(user_api="blas").info()] == others
    assert counts() == three


@pytest.mark.filterwarnings("ignore::holdfast.exceptions.HoldfastWarning")
def test_every_way_into_a_model_is_within_the_limit(three, monkeypatch):
    monkeypatch.setattr(threads, "available_cpus", lambda: 1)
    X = np.random.default_rng(0).normal(size=(80, 20)).astype(np.float32)
    model, seen = DEC(3, n_init=1, max_epochs=1, pretrain_epochs=1, random_state=0), []
    with report_to(lambda *_: seen.append(counts())):
        model.fit(X)
        model.partial_fit(X)
    assert len(seen) >= 3
    assert {count for some in seen for count in some} == {1}
    forward = type(model.module_.prepare).forward
    seen.clear()
    monkeypatch.setattr(
        type(model.module_.prepare), "forward",
        lambda self, x: (seen.append(torch.get_num_threads()), forward(self, x))[1],
    )  # fmt: skip
    for method in (model.predict, model.predict_proba, model.transform, model.assign_rows):
        method(X)
    assert seen == [1] * 4
    assert counts() == three
    seen.clear()
    find = _views.nearest_neighbours
    monkeypatch.setattr(_views, "nearest_neighbours", lambda *given: (seen.append(counts()), find(*given))[1])
    estimate_n_clusters(X)
    assert len(seen) > 1
    assert {int(n) for some in seen for n in np.atleast_1d(some)} == {1}
    assert counts() == three


PROGRAM = """
import json, os, sys, warnings
import numpy as np, torch, faiss
from threadpoolctl import threadpool_info
from holdfast import DEC
from holdfast.training import report_to
warnings.simplefilter("ignore")

def counts():
    pools = [pool["num_threads"] for pool in threadpool_info()]
    return [torch.get_num_threads(), faiss.omp_get_max_threads(), *pools]

before = counts()
os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})  # by a batch system, say, and too late for torch
seen = []
with report_to(lambda *_: seen.append(max(counts()))):
    X = np.random.default_rng(0).normal(size=(80, 20)).astype(np.float32)
    DEC(3, n_init=1, max_epochs=1, random_state=0).fit(X)
print(json.dumps([max(seen), len(seen), before == counts(), min(before)]))
"""


@pytest.mark.skipif(len(os.sched_getaffinity(0)) < 2, reason="this machine has one processor")
def test_a_fit_on_one_processor_takes_one_thread():
    pytest.importorskip("faiss")
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(PROGRAM)], env=FREE, capture_output=True, text=True, check=True
    )
    most, epochs, restored, before = json.loads(done.stdout)
    assert most == 1
    assert epochs >= 2
    assert restored
    assert before >= 2
