"""Trackers: callbacks that write the signals of every epoch to TensorBoard or MLflow."""

from __future__ import annotations

import itertools
import os
import re
import socket
import time
import warnings
import weakref
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, Protocol, Self

from holdfast._optional import require
from holdfast.exceptions import HoldfastWarning, OutputError
from holdfast.io.atomic import output_error

__all__ = ["MLflowTracker", "TensorBoardTracker"]

_MOST_PARAMS = 100  # in one request to MLflow
_file_number = itertools.count()


class _Run(Protocol):
    """What a tracker writes to: one run of one backend."""

    def describe(self, params: Mapping[str, Any]) -> None:
        """Write the parameters down."""
        ...

    def log(self, values: Mapping[str, float], step: int) -> None:
        """Write the values of one epoch, so that they can be read at once."""
        ...

    def close(self, *, failed: bool) -> None:
        """End the run and let go of what it holds."""
        ...


class _Tracker(ABC):
    """Names the series, and sees to it that no trouble of the backend reaches the training."""

    def __init__(self, params: Mapping[str, Any] | None) -> None:
        self._params: Mapping[str, Any] = dict(params or {})
        self._passes: dict[str, tuple[int, int]] = {}
        self._silent = False
        self._run: _Run | None = None
        self._finalizer: weakref.finalize[..., Any] | None = None

    def __call__(
        self,
        stage: str,
        epochs_done: int,
        epochs_at_most: int,  # noqa: ARG002 - a callback is told it
        signals: Mapping[str, float],
    ) -> None:
        """Write the signals of one epoch; what :func:`holdfast.report_to` calls."""
        name = self._name_of_pass(stage, epochs_done)
        values = {f"{name}/{_safe(signal)}": float(value) for signal, value in signals.items()}
        self._attempt(lambda: self._opened().log(values, epochs_done))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, error: type[BaseException] | None, *_: object) -> None:
        self.close(failed=error is not None)

    def close(self, *, failed: bool = False) -> None:
        """End the run; a tracker that is used again goes on where it was.

        Parameters
        ----------
        failed : bool, default=False
            Whether the training ended by an error. MLflow shows it.
        """
        run = self._let_go()
        if run is not None:
            self._attempt(lambda: run.close(failed=failed))

    @abstractmethod
    def _open(self) -> _Run:
        """Begin the run, or go on with it."""

    def _opened(self) -> _Run:
        if self._run is None:
            self._run = run = self._open()
            # Without a `with` block, the end of the tracker is the end of its run.
            self._finalizer = weakref.finalize(self, _close_quietly, run)
            params, self._params = self._params, {}
            if params:
                run.describe(params)
        return self._run

    def _let_go(self) -> _Run | None:
        run, self._run = self._run, None
        if self._finalizer is not None:
            self._finalizer.detach()
        return run

    def _name_of_pass(self, stage: str, epochs_done: int) -> str:
        """Give a stage that begins anew (each start is trained) a number, so that nothing is overwritten."""
        number, last = self._passes.get(stage, (0, epochs_done))
        if epochs_done <= last:
            number += 1
        self._passes[stage] = number, epochs_done
        return _safe(stage) if number == 1 else f"{_safe(stage)}_{number}"

    def _attempt(self, work: Callable[[], None]) -> None:
        """Do it; at the first failure warn, let go, and do nothing ever after."""
        if self._silent:
            return
        try:
            work()
        except Exception as error:  # noqa: BLE001 - whatever a backend raises, the training matters more
            self._silent = True
            run = self._let_go()
            if run is not None:
                _close_quietly(run)
            message = f"{type(self).__name__} stopped, the training goes on without it: {_first_line(error)}."
            warnings.warn(message, HoldfastWarning, stacklevel=3)


class TensorBoardTracker(_Tracker):
    """Writes the signals of every epoch to a TensorBoard event file.

    Series are named ``stage/signal`` ("joint_training/evidence") and their steps are the epochs of the
    stage. A stage that is trained again in the same fit, as where two starts compete, is numbered
    ("joint_training_2/evidence"). The file is begun with the first epoch and is complete after each. If it
    cannot be written any longer, the tracker warns once and the training goes on.

    Parameters
    ----------
    log_dir : path-like
        Folder of the run, made where it is missing. TensorBoard takes every folder for one run: give each
        fit its own, and their parent to ``tensorboard --logdir``.
    params : mapping, optional
        Written down once, for TensorBoard's tables of texts and of hyper-parameters; for instance
        ``model.get_params()``.

    Raises
    ------
    MissingDependencyError
        If tensorboard is not installed.
    OutputError
        If `log_dir` is no folder, or cannot be made.

    Examples
    --------
    >>> import holdfast as hf
    >>> model = hf.DEC(n_clusters=10)
    >>> with hf.TensorBoardTracker("runs/first", params=model.get_params()) as tracker:  # doctest: +SKIP
    ...     with hf.report_to(tracker):
    ...         model.fit(X)
    """

    def __init__(self, log_dir: str | os.PathLike[str], *, params: Mapping[str, Any] | None = None) -> None:
        super().__init__(params)
        require("tensorboard")
        self.log_dir = Path(log_dir)
        _check_folder(self.log_dir)

    def _open(self) -> _Run:
        return _EventFile(self.log_dir)


class MLflowTracker(_Tracker):
    """Writes the signals of every epoch to an MLflow run, which begins when the tracker is made.

    Metrics are named ``stage/signal`` ("joint_training/evidence") and their steps are the epochs of the
    stage. A stage that is trained again in the same fit, as where two starts compete, is numbered
    ("joint_training_2/evidence"). If the server is gone, the tracker warns once and the training goes on; how
    often MLflow asks again before it gives up is its setting ``MLFLOW_HTTP_REQUEST_MAX_RETRIES``. MLflow
    itself sends statistics of its use to its makers unless ``DO_NOT_TRACK=true`` is set.

    Parameters
    ----------
    experiment : str, default="holdfast"
        Made where it is missing.
    tracking_uri : str, optional
        A database (``"sqlite:///mlflow.db"``) or the address of a server. MLflow refuses plain folders.
        By default MLflow decides: by the variable ``MLFLOW_TRACKING_URI``, else ``mlflow.db`` here.
    run_name : str, optional
        By default MLflow invents one.
    params : mapping, optional
        Logged once as the parameters of the run; for instance ``model.get_params()``.

    Attributes
    ----------
    run_id : str
        MLflow's name of the run, for what else should be logged with it.

    Raises
    ------
    MissingDependencyError
        If mlflow is not installed.
    OutputError
        If MLflow cannot begin a run there.

    Examples
    --------
    >>> import holdfast as hf
    >>> with hf.MLflowTracker("shoes", tracking_uri="sqlite:///mlflow.db") as tracker:  # doctest: +SKIP
    ...     with hf.report_to(tracker):
    ...         model.fit(X)
    """

    def __init__(
        self,
        experiment: str = "holdfast",
        *,
        tracking_uri: str | None = None,
        run_name: str | None = None,
        params: Mapping[str, Any] | None = None,
    ) -> None:
        super().__init__(params)
        mlflow = require("mlflow")
        try:
            self._client = mlflow.MlflowClient(tracking_uri)
            self.run_id = _begin_run(self._client, experiment, run_name)
            self._opened()
        except Exception as error:
            where = mlflow.get_tracking_uri() if tracking_uri is None else tracking_uri
            raise OutputError(
                f"MLflow cannot begin a run in {experiment!r} at {where!r} ({_first_line(error)}); "
                "give tracking_uri='sqlite:///mlflow.db' or the address of a server that answers."
            ) from error

    def _open(self) -> _Run:
        return _MlflowRun(self._client, self.run_id)


class _EventFile:
    """A TensorBoard event file that is written in place.

    TensorBoard's own writer hands everything to a thread, whose errors surface late and as a traceback.
    """

    def __init__(self, folder: Path) -> None:
        from torch.utils.tensorboard import RecordWriter, summary

        self._summary: Any = summary
        self._event = require("tensorboard.compat.proto.event_pb2").Event
        folder.mkdir(parents=True, exist_ok=True)
        # TensorBoard reads the files of a folder in the order of their names.
        parts = f"{int(time.time()):010d}", socket.gethostname(), str(os.getpid()), str(next(_file_number))
        self._file = (folder / ".".join(("events.out.tfevents", *parts))).open("xb")
        self._records = RecordWriter(self._file)
        self._write(file_version="brain.Event:2")

    def describe(self, params: Mapping[str, Any]) -> None:
        """Write a table as text, and the beginning of a session of hyper-parameters."""
        rows = [f"|{name}|{str(value).replace('|', '&#124;')}|" for name, value in params.items()]
        self._write(
            summary=self._summary.text("parameters", "\n".join(("|parameter|value|", "|-|-|", *rows)))
        )
        plain = {
            name: value if isinstance(value, bool | int | float | str) else str(value)
            for name, value in params.items()
        }
        for part in self._summary.hparams(plain, {}):
            self._write(summary=part)

    def log(self, values: Mapping[str, float], step: int) -> None:
        """Append the values and hand them to the system."""
        for name, value in values.items():
            self._write(step=step, summary=self._summary.scalar(name, value))
        self._file.flush()

    def close(self, *, failed: bool) -> None:  # noqa: ARG002 - an event file cannot say it
        """Close the file."""
        self._file.close()

    def _write(self, **fields: Any) -> None:
        self._records.write(self._event(wall_time=time.time(), **fields).SerializeToString())


class _MlflowRun:
    """A run of MLflow, through a client of its own: the run that is active in the process is left alone."""

    def __init__(self, client: Any, run_id: str) -> None:
        self._client, self._run_id = client, run_id
        client.update_run(run_id, status="RUNNING")

    def describe(self, params: Mapping[str, Any]) -> None:
        """Log the parameters, as many at once as MLflow takes."""
        param = require("mlflow.entities").Param
        every = [param(name, str(value)) for name, value in params.items()]
        for first in range(0, len(every), _MOST_PARAMS):
            self._client.log_batch(self._run_id, params=every[first : first + _MOST_PARAMS])

    def log(self, values: Mapping[str, float], step: int) -> None:
        """Log all values in one request."""
        metric, now = require("mlflow.entities").Metric, int(1000 * time.time())
        metrics = [metric(name, value, now, step) for name, value in values.items()]
        self._client.log_batch(self._run_id, metrics=metrics)

    def close(self, *, failed: bool) -> None:
        """Tell MLflow how the run ended."""
        self._client.set_terminated(self._run_id, "FAILED" if failed else "FINISHED")


def _begin_run(client: Any, experiment: str, run_name: str | None) -> str:
    """Return the id of a new run; the experiment is made where it is missing."""
    found = client.get_experiment_by_name(experiment)
    experiment_id = found.experiment_id if found else client.create_experiment(experiment)
    return str(client.create_run(experiment_id, run_name=run_name).info.run_id)


def _check_folder(folder: Path) -> None:
    """Say before a long training what would keep a folder from being written, and leave nothing behind."""
    try:
        nearest = next(path for path in (folder.absolute(), *folder.absolute().parents) if path.exists())
    except OSError as error:
        raise output_error(folder, error) from error
    if not nearest.is_dir():
        raise OutputError(f"log_dir {folder} cannot be a folder, as {nearest} is a file; give another.")
    if not os.access(nearest, os.W_OK):
        raise OutputError(f"log_dir {folder} cannot be written: no permission in {nearest}; give another.")


def _close_quietly(run: _Run) -> None:
    with suppress(Exception):
        run.close(failed=False)


def _safe(name: str) -> str:
    """Write a name with letters, digits and underscores: no space or slash disturbs a path of names."""
    return re.sub(r"\W+", "_", name)


def _first_line(error: Exception) -> str:
    return (str(error).strip().partition("\n")[0] or type(error).__name__).rstrip(".")
