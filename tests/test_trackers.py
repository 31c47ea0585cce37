"""Trackers: what TensorBoard and MLflow read back, and training that goes on without them."""

import math
import re
import resource
import sqlite3
import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import holdfast as hf
from commands import ENVIRONMENT, invoke, make_blobs, make_table, succeed
from holdfast.exceptions import HoldfastWarning, MissingDependencyError, OutputError
from holdfast.training.trackers import _Tracker

STORE = "sqlite:///{}/mlflow.db"


@pytest.fixture
def events(tmp_path):
    """Return a function that reads back what a folder of event files holds; skip without TensorBoard."""
    reason = "tensorboard is not installed; it comes with the extras 'track' and 'dev'"
    module = "tensorboard.backend.event_processing.event_accumulator"
    accumulator = pytest.importorskip(module, reason=reason, exc_type=ImportError)
    return lambda folder: accumulator.EventAccumulator(str(folder), {"scalars": 0, "tensors": 0}).Reload()


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    """Return the address of an MLflow database and a client that looks into it; skip without MLflow."""
    mlflow = pytest.importorskip("mlflow", reason="mlflow is not installed; it comes with the extra 'track'")
    pytest.importorskip("sqlalchemy", reason="sqlalchemy is not installed; it comes with the extra 'track'")
    uri = STORE.format(tmp_path_factory.mktemp("mlflow"))
    return uri, mlflow.MlflowClient(uri)


def read(accumulator):
    """Return every series as (step, value) pairs."""
    return {
        tag: [(event.step, event.value) for event in accumulator.Scalars(tag)]
        for tag in accumulator.Tags()["scalars"]
    }


def runs_of(client, experiment):
    return client.search_runs([client.get_experiment_by_name(experiment).experiment_id])


def fit(**options):
    """Fit blobs that overlap so much that both starts are trained."""
    X, _ = make_blobs(80, d=12, k=4, seed=1)
    model = hf.DEC(4, n_init=2, pretrain_epochs=3, max_epochs=4, random_state=0, **options)
    return model.fit(X + np.random.default_rng(0).normal(size=X.shape))


class Log:
    """A backend that is a list, and can be made to fail."""

    def __init__(self, fails_at=math.inf):
        self.entries, self.closed, self.described = [], [], []
        self.fails_at = fails_at

    def describe(self, params):
        self.described.append(params)

    def log(self, values, step):
        if len(self.entries) >= self.fails_at:
            raise RuntimeError("the disk is full.\nTraceback follows")
        self.entries += [(name, step, value) for name, value in values.items()]

    def close(self, *, failed):
        self.closed.append(failed)


class Recorder(_Tracker):
    """A tracker that opens the same list again and again."""

    def __init__(self, log, params=None):
        super().__init__(params)
        self.log = log

    def _open(self):
        return self.log


def drive(tracker, epochs, *, error=None, close=False):
    """Tell a tracker of epochs of one stage, and end as asked for."""
    for done in epochs:
        tracker("stage", done, 9, {"loss": float(done)})
    if close:
        tracker.close()
    if error is not None:
        raise error


# --- names --------------------------------------------------------------------------------------------------


def test_a_stage_that_begins_anew_is_numbered():
    log = Log()
    tracker = Recorder(log)
    for stage, done in [("warm start", 1), ("warm start", 2), ("joint training", 1), ("warm start", 1)]:
        tracker(stage, done, 9, {"loss": 0.5})
    tracker("joint training", 1, 9, {"a/b c": 1})
    assert log.entries == [
        ("warm_start/loss", 1, 0.5),
        ("warm_start/loss", 2, 0.5),
        ("joint_training/loss", 1, 0.5),
        ("warm_start_2/loss", 1, 0.5),
        ("joint_training_2/a_b_c", 1, 1.0),
    ]


@given(st.lists(st.tuples(st.sampled_from(["warm start", "joint training"]), st.integers(1, 5)), min_size=1))
def test_no_value_overwrites_another(calls):
    log = Log()
    tracker = Recorder(log)
    for stage, length in calls:
        for done in range(1, length + 1):
            tracker(stage, done, 5, {"loss": 0.0, "score": 0.0})
    places = [entry[:2] for entry in log.entries]
    assert len(set(places)) == len(places) == 2 * sum(length for _, length in calls)


# --- trouble ------------------------------------------------------------------------------------------------


def test_a_backend_that_fails_is_warned_of_once_and_the_fit_is_the_same():
    log = Log(fails_at=3)
    with hf.report_to(Recorder(log)), pytest.warns(HoldfastWarning) as caught:
        model = fit()
    ours = [str(entry.message) for entry in caught if entry.category is HoldfastWarning]
    assert ours == ["Recorder stopped, the training goes on without it: the disk is full."]
    assert log.closed == [False]
    assert {step for _, step, _ in log.entries} == {1}
    assert model.labels_.tolist() == fit().labels_.tolist()


def test_a_tracker_ends_its_run_and_can_go_on():
    log = Log()
    tracker = Recorder(log, {"a": 1})
    with tracker:
        drive(tracker, [1])
    with pytest.raises(ZeroDivisionError), tracker:
        drive(tracker, [1], error=ZeroDivisionError)
    tracker.close()
    assert (log.closed, log.described) == ([False, True], [{"a": 1}])
    assert [name for name, *_ in log.entries] == ["stage/loss", "stage_2/loss"]


def test_a_tracker_without_a_block_ends_its_run_when_it_is_gone():
    log = Log()
    with hf.report_to(Recorder(log)):
        fit(init="kmeans")
    assert log.entries
    assert log.closed == [False]


@pytest.mark.parametrize(
    ("library", "name"), [("tensorboard", "TensorBoardTracker"), ("mlflow", "MLflowTracker")]
)
def test_a_missing_library_is_named_before_the_training(library, name, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, library, None)
    with pytest.raises(MissingDependencyError) as caught:
        getattr(hf, name)(str(tmp_path / "runs"))
    assert str(caught.value).startswith(
        "This part of holdfast needs " + library
    ) or "cannot be imported" in str(caught.value)
    assert str(caught.value).endswith("install it with: pip install 'holdfast[track]'")
    assert not any(tmp_path.iterdir())


def test_the_trackers_are_named_without_their_libraries():
    program = (
        "import sys, holdfast; holdfast.TensorBoardTracker, holdfast.MLflowTracker; "
        "print({'tensorboard', 'mlflow'} & set(sys.modules))"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], check=True, env=ENVIRONMENT, capture_output=True, text=True
    )
    assert done.stdout == "set()\n"


# --- TensorBoard --------------------------------------------------------------------------------------------


@pytest.mark.filterwarnings("ignore::holdfast.exceptions.NotConvergedWarning")
def test_tensorboard_reads_back_every_epoch(events, tmp_path):
    with hf.report_to(hf.TensorBoardTracker(tmp_path / "runs" / "x")):
        model = fit()
    series = read(events(tmp_path / "runs" / "x"))
    told = [entry["evidence"] for entry in model.history_]
    passes = [
        [value for _, value in series[f"{name}/evidence"]] for name in ("joint_training", "joint_training_2")
    ]
    assert any(values == pytest.approx(told, rel=1e-6) for values in passes), "one of the two is the result"
    assert passes[0] != passes[1]
    assert "warm_start/loss" in series
    for pairs in series.values():
        assert [step for step, _ in pairs] == list(range(1, len(pairs) + 1))


def test_tensorboard_can_be_read_while_the_training_runs(events, tmp_path):
    tracker = hf.TensorBoardTracker(tmp_path)
    assert not any(tmp_path.iterdir()), "a training that never begins leaves no run"
    tracker("warm start", 1, 9, {"loss": 0.5, "score": math.nan})
    (file,) = tmp_path.iterdir()
    assert re.fullmatch(r"events\.out\.tfevents\.\d{10}\..+", file.name)
    series = read(events(tmp_path))
    assert series["warm_start/loss"] == [(1, 0.5)]
    assert math.isnan(series["warm_start/score"][0][1])
    tracker.close()
    tracker("warm start", 2, 9, {"loss": 0.25})
    tracker.close()
    assert len(list(tmp_path.iterdir())) == 2, "an event file that was closed is not touched again"
    assert read(events(tmp_path))["warm_start/loss"] == [(1, 0.5), (2, 0.25)]


def test_tensorboard_shows_the_parameters(events, tmp_path):
    params = {**hf.DEC(n_clusters=7).get_params(), "note": "a|b"}
    with hf.TensorBoardTracker(tmp_path, params=params) as tracker:
        drive(tracker, [1, 2])
    accumulator = events(tmp_path)
    (text,) = accumulator.Tensors("parameters/text_summary")
    (table,) = text.tensor_proto.string_val
    rows = table.decode().split("\n")
    assert rows[:2] == ["|parameter|value|", "|-|-|"]
    assert {"|n_clusters|7|", "|hidden_dims|(256, 32)|", "|note|a&#124;b|"} <= set(rows)
    plugin = accumulator.summary_metadata["_hparams_/session_start_info"].plugin_data
    assert plugin.plugin_name == "hparams"
    assert b"n_clusters" in plugin.content
    assert b"random_state" in plugin.content


def test_a_full_disk_stops_the_event_file_and_not_the_training(events, tmp_path):
    tracker = hf.TensorBoardTracker(tmp_path)
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    drive(tracker, [1, 2])
    (file,) = tmp_path.iterdir()
    resource.setrlimit(resource.RLIMIT_FSIZE, (file.stat().st_size + 10, limits[1]))
    try:
        with pytest.warns(HoldfastWarning) as caught:
            drive(tracker, range(3, 9), close=True)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    (warning,) = caught
    expected = "TensorBoardTracker stopped, the training goes on without it: [Errno 27] File too large"
    assert str(warning.message).startswith(expected)
    assert read(events(tmp_path))["stage/loss"] == [(1, 1.0), (2, 2.0)]


@pytest.mark.usefixtures("events")
def test_a_log_dir_that_cannot_be_is_refused_before_the_training(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(OutputError) as caught:
        hf.TensorBoardTracker(tmp_path / "file" / "runs")
    assert str(caught.value) == (
        f"log_dir {tmp_path / 'file' / 'runs'} cannot be a folder, as {tmp_path / 'file'} is a file; "
        "give another."
    )
    with pytest.raises(OutputError, match=r"^Cannot write .* \(File name too long\): give a folder"):
        hf.TensorBoardTracker(tmp_path / ("x" * 300))


# --- MLflow -------------------------------------------------------------------------------------------------


@pytest.mark.filterwarnings("ignore::holdfast.exceptions.NotConvergedWarning")
def test_mlflow_reads_back_every_epoch(store):
    uri, client = store
    params = {**hf.DEC(n_clusters=4).get_params(), **{f"more {i}": i for i in range(150)}}
    with hf.report_to(hf.MLflowTracker("fit", tracking_uri=uri, run_name="first", params=params)):
        model = fit(init="kmeans")
    (run,) = runs_of(client, "fit")
    assert (run.info.status, run.info.run_name) == ("FINISHED", "first")
    assert run.data.params == {name: str(value) for name, value in params.items()}
    for key in ("loss", "evidence", "changed"):
        history = client.get_metric_history(run.info.run_id, f"joint_training/{key}")
        told = [(entry["epoch"], entry[key]) for entry in model.history_ if key in entry]
        assert [(metric.step, metric.value) for metric in history] == told


def test_mlflow_is_told_how_the_run_ended(store):
    uri, client = store
    tracker = hf.MLflowTracker("ends", tracking_uri=uri)

    def status():
        return client.get_run(tracker.run_id).info.status

    assert status() == "RUNNING"
    with pytest.raises(ZeroDivisionError), tracker:
        drive(tracker, [1], error=ZeroDivisionError)
    assert status() == "FAILED"
    with tracker:
        tracker("stage", 2, 2, {"loss": math.nan})
        assert status() == "RUNNING"
    assert status() == "FINISHED"
    first, second = client.get_metric_history(tracker.run_id, "stage/loss")
    assert (first.step, first.value) == (1, 1.0)
    assert second.step == 2
    assert math.isnan(second.value)
    assert len(runs_of(client, "ends")) == 1


def test_a_database_that_breaks_stops_mlflow_and_not_the_training(tmp_path, store):
    uri = STORE.format(tmp_path)
    tracker = hf.MLflowTracker(tracking_uri=uri)
    drive(tracker, [1])
    with sqlite3.connect(tmp_path / "mlflow.db") as database:
        database.execute("DROP TABLE latest_metrics")
    with pytest.warns(HoldfastWarning) as caught:
        drive(tracker, range(2, 9), close=True)
    ours = [str(entry.message) for entry in caught if entry.category is HoldfastWarning]
    assert len(ours) == 1
    assert ours[0].startswith("MLflowTracker stopped, the training goes on without it: ")
    assert "no such table: latest_metrics" in ours[0]


@pytest.mark.usefixtures("store")
@pytest.mark.parametrize("uri", ["{}/runs", "http://127.0.0.1:9"])
def test_what_mlflow_cannot_use_is_refused_before_the_training(uri, tmp_path, monkeypatch):
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    uri = uri.format(tmp_path)
    with pytest.raises(OutputError) as caught:
        hf.MLflowTracker("photos", tracking_uri=uri)
    assert str(caught.value).startswith(f"MLflow cannot begin a run in 'photos' at '{uri}' (")
    assert str(caught.value).endswith(
        "); give tracking_uri='sqlite:///mlflow.db' or the address of a server that answers."
    )
    assert "\n" not in str(caught.value)
    assert not any(tmp_path.iterdir())


# --- commands -----------------------------------------------------------------------------------------------


def test_a_command_logs_each_run_to_a_folder_of_its_own(events, tmp_path):
    table, logs = make_table(tmp_path / "emb.npz"), tmp_path / "logs"
    words = ("fit", table, "-o", tmp_path / "out", "--n-clusters", 3, "--log-dir", logs)
    assert "report.html" in succeed(*words)
    (run,) = logs.iterdir()
    assert re.fullmatch(r"out-\d{8}-\d{6}", run.name)
    accumulator = events(run)
    assert "joint_training/evidence" in accumulator.Tags()["scalars"]
    (text,) = accumulator.Tensors("parameters/text_summary")
    assert b"|n_clusters|3|" in text.tensor_proto.string_val[0]


def test_a_command_without_tensorboard_names_the_extra(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "tensorboard", None)
    result = invoke("fit", tmp_path / "emb.npz", "-o", tmp_path / "out", "--log-dir", tmp_path / "logs")
    assert result.exit_code == 2
    assert result.stderr.endswith("install it with: pip install 'holdfast[track]'\n")
