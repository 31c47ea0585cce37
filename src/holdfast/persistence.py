"""Estimator <-> folder. An estimator offers its state as arrays and plain values; files never run code."""

from __future__ import annotations

from numbers import Integral
from pathlib import Path
from typing import Any

from holdfast.cluster import DEC, IDEC, ConsensusClustering, DirichletGMM
from holdfast.cluster._base import BaseClusterer
from holdfast.exceptions import InputError, ModelFileError, ParameterError
from holdfast.io.tensors import load_tensors, save_tensors
from holdfast.training.batches import resolve_device

__all__ = ["load", "save"]

_ESTIMATORS: dict[str, type[BaseClusterer]] = {
    "ConsensusClustering": ConsensusClustering,
    "DEC": DEC,
    "DirichletGMM": DirichletGMM,
    "IDEC": IDEC,
}


def save(model: BaseClusterer, folder: str | Path) -> None:
    """Write a fitted estimator to a folder: ``tensors.safetensors`` and ``manifest.json``.

    Parameters
    ----------
    model : estimator
        Fitted.
    folder : str or Path
        Made where it is missing; a model that is there already is replaced as a whole.

    Raises
    ------
    InputError
        If the estimator is not fitted, or not one of holdfast's.
    OutputError
        If the folder cannot be written.
    """
    name = type(model).__name__
    if _ESTIMATORS.get(name) is not type(model):
        raise InputError(f"cannot save a {name}; holdfast saves {', '.join(sorted(_ESTIMATORS))}.")
    if not hasattr(model, "module_"):
        raise InputError(f"this {name} is not fitted yet; call fit before saving it.")
    tensors, values = model.get_state()
    save_tensors(folder, tensors, {"estimator": name, "parameters": _parameters(model), **values})


def load(folder: str | Path) -> BaseClusterer:
    """Read an estimator that :func:`save` wrote; its predictions are equal to the last bit.

    Parameters
    ----------
    folder : str or Path

    Returns
    -------
    estimator
        Its ``device`` is ``"auto"`` where this machine lacks the one it was fitted on.

    Raises
    ------
    ModelFileError
        If the folder is missing, damaged, tampered with, or written by a newer holdfast.
    """
    tensors, manifest = load_tensors(folder)
    name = manifest.get("estimator")
    if not isinstance(name, str) or name not in _ESTIMATORS:
        raise ModelFileError(
            f"{folder} holds an estimator called {name!r}, unknown to this holdfast; update holdfast."
        )
    try:
        parameters = {key: _tuple(value) for key, value in manifest["parameters"].items()}
        parameters["device"] = _usable(parameters["device"])
        model = _ESTIMATORS[name](**parameters)
        model.set_state(tensors, manifest)
    except (AttributeError, IndexError, KeyError, TypeError, ValueError, RuntimeError) as error:
        reason = " ".join(str(error).split())  # torch's reasons span lines
        raise ModelFileError(
            f"{folder} does not describe a complete {name} ({reason}); save the model again."
        ) from error
    return model


def _parameters(model: BaseClusterer) -> dict[str, Any]:
    """Write constructor arguments as JSON knows them, without what is of this machine or this process alone.

    A random state object is not kept, its effect is.
    """
    parameters: dict[str, Any] = dict(model.get_params(deep=False))
    seed = parameters.get("random_state")
    parameters["random_state"] = int(seed) if isinstance(seed, Integral) else None
    if "checkpoint" in parameters:
        parameters["checkpoint"] = None
    return parameters


def _usable(device: Any) -> Any:
    """Fall back to "auto" from a device that this machine lacks: models move between machines."""
    try:
        resolve_device(device)
    except ParameterError:
        return "auto"
    return device


def _tuple(value: Any) -> Any:
    return tuple(value) if isinstance(value, list) else value
