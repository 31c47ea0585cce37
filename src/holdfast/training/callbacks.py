"""How an epoch is told to the outside: a progress bar, a tracker, a test."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext
from contextvars import ContextVar

__all__ = ["EpochCallback", "report_to", "tell"]

EpochCallback = Callable[[str, int, int, Mapping[str, float]], None]
"""Called as ``callback(stage, epochs_done, epochs_at_most, signals)``."""

_listeners: ContextVar[tuple[EpochCallback, ...]] = ContextVar("holdfast_listeners", default=())


@contextmanager
def report_to(callback: EpochCallback) -> Iterator[None]:
    """Have every training loop inside the ``with`` block call ``callback`` once an epoch.

    Parameters
    ----------
    callback : callable
        Receives the stage's name, the epochs done, the most epochs it may take, and the signals of the
        epoch. What it raises ends the training. One that is a context manager, as trackers are, is
        entered, so that it is closed at the end of the block.
    """
    with callback if isinstance(callback, AbstractContextManager) else nullcontext():
        token = _listeners.set((*_listeners.get(), callback))
        try:
            yield
        finally:
            _listeners.reset(token)


def tell(stage: str, done: int, total: int, signals: Mapping[str, float]) -> None:
    """Pass one epoch on to whoever listens."""
    for callback in _listeners.get():
        callback(stage, done, total, signals)
