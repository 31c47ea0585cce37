"""Every error holdfast raises on purpose, and every warning it emits.

::

    HoldfastError
    ├── InputError                 what was given cannot be used (commands exit with 2)
    │   ├── ParameterError         a parameter is outside its domain
    │   ├── TableError             a file of embeddings cannot be read as one
    │   ├── ImageError             an image, or a folder of images, cannot be read
    │   └── ModelFileError         a model folder is damaged, foreign or from a newer holdfast
    ├── OutputError                the result cannot be written where it was asked for (exit with 2)
    ├── MissingDependencyError     an optional library is not installed (exit with 2)
    └── TrainingError              the work itself failed (commands exit with 1)

    HoldfastWarning
    └── NotConvergedWarning        training ended before its stopping rule was met

Every message is one sentence that names the file or the parameter, the row where there is one, and
the remedy.
"""

from __future__ import annotations

__all__ = [
    "HoldfastError",
    "HoldfastWarning",
    "ImageError",
    "InputError",
    "MissingDependencyError",
    "ModelFileError",
    "NotConvergedWarning",
    "OutputError",
    "ParameterError",
    "TableError",
    "TrainingError",
]


class HoldfastError(Exception):
    """The root of every error that holdfast raises on purpose."""


class InputError(HoldfastError, ValueError):
    """What was given cannot be used."""


class ParameterError(InputError):
    """A parameter is outside its domain."""


class TableError(InputError):
    """A file of embeddings cannot be read as one."""


class ImageError(InputError):
    """An image, or a folder of images, cannot be read."""


class ModelFileError(InputError):
    """A model folder is damaged, foreign, or written by a newer holdfast."""


class OutputError(HoldfastError, OSError):
    """The result cannot be written where it was asked for."""


class MissingDependencyError(HoldfastError, ImportError):
    """A feature needs a library that is not installed."""


class TrainingError(HoldfastError, RuntimeError):
    """The work itself failed."""


class HoldfastWarning(UserWarning):
    """The root of every warning that holdfast emits."""


class NotConvergedWarning(HoldfastWarning):
    """Training ended before its stopping rule was met."""
