"""How to do it again: the command, the same in Python, every parameter, every version."""

from __future__ import annotations

import inspect
import json
import platform
from collections.abc import Mapping, Sequence
from importlib import metadata
from typing import Any

from holdfast.report.tree import Ballot, Fact, Recipe
from holdfast.report.voting import in_words

__all__ = ["HEADER_KEYS", "first_of", "make_recipe", "version", "versions"]

_LIBRARIES = ("numpy", "scipy", "scikit-learn", "scikit-network", "torch", "transformers", "pillow")

HEADER_KEYS = {
    "source": ("source", "input"),
    "date": ("date", "finished", "started"),
    "seconds": ("seconds", "duration"),
    "encoder": ("encoder",),
}
"""Under which names a run may give what the header shows; the first one present counts."""

_SHOWN_ELSEWHERE = {
    "command",
    "versions",
    "holdfast",
    "animation",
    *(key for keys in HEADER_KEYS.values() for key in keys),
}


def first_of(run: Mapping[str, Any], name: str) -> Any:
    """Return what the run says under any of the names of one header entry, or None."""
    return next((run[key] for key in HEADER_KEYS[name] if run.get(key) is not None), None)


def version(library: str = "holdfast") -> str:
    """Return the installed version of a library, "unknown" where it is not installed."""
    try:
        return metadata.version(library)
    except metadata.PackageNotFoundError:
        return "unknown"


def make_recipe(model: Any, run: Mapping[str, Any], ballots: Sequence[Ballot] = ()) -> Recipe:
    """Collect what somebody needs to repeat the run.

    Parameters
    ----------
    model : estimator
        Its `get_params()` are listed and those that differ from the defaults written as Python.
    run : mapping
        `command` (text or list of words) and `versions` (mapping) are used as such; what is left is listed.
    ballots : sequence of Ballot
        What voted, if anything did.
    """
    parameters = model.get_params(deep=False) if hasattr(model, "get_params") else {}
    command = run.get("command")
    if isinstance(command, list | tuple):
        command = " ".join(map(str, command))
    listed = {key: value for key, value in run.items() if key not in _SHOWN_ELSEWHERE}
    return Recipe(
        command=None if command is None else str(command),
        snippet=_snippet(type(model), parameters),
        parameters=_facts(parameters),
        versions=_facts(run.get("versions") or versions()),
        facts=_facts({**listed, "what voted": in_words(ballots)}),
    )


def _snippet(kind: type, parameters: Mapping[str, Any]) -> str:
    defaults = {name: p.default for name, p in inspect.signature(kind).parameters.items()}
    changed = {
        name: value
        for name, value in parameters.items()
        if repr(value) != repr(defaults.get(name, inspect._empty))
    }
    arguments = ", ".join(f"{name}={value!r}" for name, value in changed.items())
    lines = ("import holdfast as hf", "", 'emb = hf.read_embeddings("embeddings.parquet")')
    return "\n".join((*lines, f"model = hf.{kind.__name__}({arguments}).fit(emb.X)"))


def versions() -> dict[str, str]:
    """Return the versions of Python and of the libraries at work, as far as they are installed."""
    found = {library: version(library) for library in ("holdfast", *_LIBRARIES)}
    known = {library: number for library, number in found.items() if number != "unknown"}
    return {"python": platform.python_version(), **known}


def _facts(values: Mapping[str, Any]) -> tuple[Fact, ...]:
    return tuple(Fact(str(name), _as_text(value)) for name, value in values.items() if value is not None)


def _as_text(value: Any) -> str:
    if isinstance(value, str):
        return value
    if isinstance(value, Mapping | list):
        return json.dumps(value, default=str, ensure_ascii=False)
    return repr(value) if isinstance(value, tuple | float) else str(value)
