"""Optional libraries: the one place that knows which extra brings which of them."""

from __future__ import annotations

from importlib import import_module
from types import ModuleType

from holdfast.exceptions import MissingDependencyError

__all__ = ["EXTRA_OF", "require"]

EXTRA_OF = {
    "faiss": "faiss",
    "mlflow": "track",
    "tensorboard": "track",
    "transformers": "embed",
}


def require(module: str) -> ModuleType:
    """Import an optional library, or say how to install it.

    Parameters
    ----------
    module : str
        The name it is imported by; dots are allowed ("transformers.utils").

    Returns
    -------
    ModuleType
        The imported module.

    Raises
    ------
    MissingDependencyError
        If the library is missing, or is there and cannot be imported.
    """
    library = module.partition(".")[0]
    extra = EXTRA_OF[library]
    try:
        return import_module(module)
    except ImportError as error:
        # Its own absence and the absence of something it needs want different words.
        if isinstance(error, ModuleNotFoundError) and error.name == library:
            state = f"This part of holdfast needs {library}"
        else:
            state = f"{library} is installed but cannot be imported ({error})"
        raise MissingDependencyError(f"{state}; install it with: pip install 'holdfast[{extra}]'") from error
