"""What an examination ends in: findings, each with what was seen and what to do about it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

__all__ = ["LEVELS", "Diagnosis", "Finding", "Level", "from_sentence", "listed"]

Level = Literal["error", "warning", "note"]
LEVELS: tuple[Level, ...] = ("error", "warning", "note")
"""From "cannot be used" to "good to know"."""

_SHOWN = 3


@dataclass(frozen=True)
class Finding:
    """One thing that was seen.

    Parameters
    ----------
    code : str
        Its stable name, in kebab-case, for machines.
    level : {"error", "warning", "note"}
        Error: cannot be used as it is. Warning: can be used, and the result will suffer. Note: good to know.
    what : str
        What was seen, with its numbers, in one or two sentences.
    remedy : str
        What to do about it, in one sentence.
    examples : tuple of str
        Ids, columns or clusters in question; not necessarily all of them.
    """

    code: str
    level: Level
    what: str
    remedy: str
    examples: tuple[str, ...] = ()


@dataclass(frozen=True)
class Diagnosis:
    """The result of an examination.

    Attributes
    ----------
    path : str
        What was examined.
    kind : {"table", "model", "taxonomy", "unknown"}
    findings : tuple of Finding
        Errors first.
    facts : mapping
        What was measured on the way: sizes, widths, statistics.
    """

    path: str
    kind: str
    findings: tuple[Finding, ...]
    facts: Mapping[str, Any] = field(default_factory=dict)

    @classmethod
    def of(cls, path: str, kind: str, findings: Sequence[Finding], facts: Mapping[str, Any]) -> Diagnosis:
        """Order the findings, the worst first, and otherwise as they were found."""
        return cls(path, kind, tuple(sorted(findings, key=lambda f: LEVELS.index(f.level))), facts)

    @property
    def usable(self) -> bool:
        """Whether there is no error among the findings."""
        return all(finding.level != "error" for finding in self.findings)

    @property
    def healthy(self) -> bool:
        """Whether there is nothing but notes among the findings."""
        return all(finding.level == "note" for finding in self.findings)


def from_sentence(code: str, error: Exception, level: Level = "error") -> Finding:
    """Turn an error of the library, "what is wrong: the remedy.", into a finding."""
    text = " ".join(str(error).split())
    ends = [at for at in range(len(text)) if text[at : at + 2] in {": ", "; "} and _is_outside(text[at:])]
    if not ends:
        return Finding(code, level, text, "Restore it, or write it again.")
    what, remedy = text[: ends[-1]], text[ends[-1] + 2 :]
    return Finding(code, level, what + ".", remedy[:1].upper() + remedy[1:])


def listed(names: Sequence[object], total: int | None = None) -> str:
    """Name the first few things: ``a, b, c and 4 more``."""
    shown = [_short(str(name)) for name in names[:_SHOWN]]
    rest = (len(names) if total is None else total) - len(shown)
    return ", ".join(shown) + (f" and {rest:,} more" if rest > 0 else "")


def _is_outside(rest: str) -> bool:
    """Tell whether what is left of a sentence does not begin within brackets, where reasons are quoted."""
    return rest.count("(") >= rest.count(")")


def _short(name: str) -> str:
    """Keep the end of a long name, where paths differ."""
    return name if len(name) <= 48 else "..." + name[-45:]
