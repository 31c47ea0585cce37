"""How many threads to compute with: no more than there are processors for this process."""

from __future__ import annotations

import math
import os
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import torch
from threadpoolctl import ThreadpoolController  # type: ignore[import-untyped]

__all__ = ["available_cpus", "within_cpus"]


def available_cpus(system: Path | str = "/") -> int:
    """Count the processors that this process may keep busy.

    The least of its CPU set, of the CPU quotas of its control groups (containers have them) and of those
    around them, and of ``OMP_NUM_THREADS``. More threads than that wait for each other: an epoch was seen to
    take 30 times as long.

    Parameters
    ----------
    system : path-like, default="/"
        Where ``proc`` and ``sys`` are found.

    Returns
    -------
    int
        At least 1; a quota of one and a half processors counts as 2.
    """
    return max(1, math.ceil(min(_allowed(), _asked(), *_quotas(str(system)))))


@contextmanager
def within_cpus(*, pools: bool = True) -> Iterator[int]:
    """Compute with no more threads than :func:`available_cpus` inside a ``with`` block, then as before.

    Nothing is raised: whoever has asked for fewer threads keeps them.

    Parameters
    ----------
    pools : bool, default=True
        Whether the threads of NumPy, SciPy, scikit-learn and faiss are limited too. Finding what is loaded
        takes some 20 milliseconds, too many for a prediction, which only needs torch.

    Yields
    ------
    int
        The limit.
    """
    limit = available_cpus()
    with ExitStack() as undo:
        if (before := torch.get_num_threads()) > limit:
            undo.callback(torch.set_num_threads, before)
            torch.set_num_threads(limit)
        if pools:
            controller = ThreadpoolController()
            above = [pool["filepath"] for pool in controller.info() if pool["num_threads"] > limit]
            undo.enter_context(controller.select(filepath=above).limit(limits=limit))
        yield limit


def _allowed() -> float:
    """Count the processors of the process's CPU set; those of the machine where there are no such sets."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def _asked() -> float:
    """Threads asked for by the environment; a list has one number for each level of nesting."""
    first = os.environ.get("OMP_NUM_THREADS", "").partition(",")[0].strip()
    return int(first) if first.isdecimal() and int(first) > 0 else math.inf


def _quotas(system: str) -> Iterator[float]:
    """Quotas, in processors, of the process's control groups and of all groups around them."""
    mounts = f"{system}/sys/fs/cgroup"
    for line in _text(f"{system}/proc/self/cgroup").splitlines():
        controllers, _, place = line.partition(":")[2].partition(":")
        if not controllers:
            yield from (_quota(_text(f"{group}/cpu.max")) for group in _around(mounts, place))
        elif "cpu" in controllers.split(","):
            for group in _around(f"{mounts}/cpu", place):
                quota, period = (_text(f"{group}/cpu.cfs_{name}_us") for name in ("quota", "period"))
                yield _quota(f"{quota} {period}")


def _around(mount: str, place: str) -> Iterator[str]:
    """Name a group's folder and those above it; inside a container only the mount itself may be there."""
    parts = [part for part in place.split("/") if part]
    return ("/".join((mount, *parts[:depth])) for depth in range(len(parts), -1, -1))


def _quota(text: str) -> float:
    """Processors of a quota and its period, both in microseconds; infinite where there is none."""
    numbers = text.split()
    if len(numbers) != 2 or not all(number.isdecimal() for number in numbers) or int(numbers[1]) == 0:
        return math.inf
    return int(numbers[0]) / int(numbers[1])


def _text(path: str) -> str:
    try:
        with open(path, encoding="ascii", errors="replace") as stream:  # noqa: PTH123
            return stream.read()
    except OSError:
        return ""
