"""Estimator <-> folder. An estimator offers its state as arrays and plain values; files never run code."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from holdfast.cluster import DEC
from holdfast.cluster._base import BaseClusterer
from holdfast.exceptions import InputError, ModelFileError
from holdfast.io.tensors import load_tensors, save_tensors

__all__ = ["load", "save"]

_ESTIMATORS: dict[str, type[BaseClusterer]] = {"DEC": DEC}


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

    Raises
    ------
    ModelFileError
        If the folder is missing, damaged, tampered with, or written by a newer holdfast.
    """
    tensors, manifest = load_tensors(folder)
    name = manifest.get("estimator")
    if name not in _ESTIMATORS:
        raise ModelFileError(
            f"{folder} holds an estimator called {name!r}, unknown to this holdfast; update holdfast."
        )
    try:
        parameters = {key: _tuple(value) for key, value in manifest["parameters"].items()}
        model = _ESTIMATORS[name](**parameters)
        model.set_state(tensors, manifest)
    except (KeyError, TypeError, ValueError, RuntimeError) as error:
        raise ModelFileError(
            f"{folder} does not describe a complete {name} ({error}); save the model again."
        ) from error
    return model


def _parameters(model: BaseClusterer) -> dict[str, Any]:
    """Write constructor arguments as JSON knows them; a random state object is not kept, its effect is."""
    parameters: dict[str, Any] = dict(model.get_params(deep=False))
    if not isinstance(parameters.get("random_state"), int | None):
        parameters["random_state"] = None
    return parameters


def _tuple(value: Any) -> Any:
    return tuple(value) if isinstance(value, list) else value
