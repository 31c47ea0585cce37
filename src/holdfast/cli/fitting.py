"""How to cluster: the options of the commands that fit, as an estimator takes them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

from holdfast._choices import DEC_CHOICES, DEFAULT_METHOD, METHODS, ONLY_FOR
from holdfast._validation import check_choice, check_float, check_int
from holdfast.exceptions import ParameterError

__all__ = ["Fitting"]


@dataclass(frozen=True)
class Fitting:
    """How to cluster: the options of `run`, `fit` and `demo`, as an estimator takes them."""

    n_clusters: int | Literal["auto"] = "auto"
    method: str = DEFAULT_METHOD
    init: str = "auto"
    seed: int = 0
    device: str = "auto"
    subsample: int | Literal["auto"] | None = "auto"
    min_confidence: float = 0.0
    fast: bool = False

    def estimator(self) -> Any:
        """Build the estimator, unfitted.

        Raises
        ------
        ParameterError
            If there is no such method, start, seed, threshold or device, or an option is another method's.
        """
        import holdfast

        name = METHODS[check_choice("method", self.method, tuple(METHODS))]
        # Constructors check nothing, and the images are embedded before the fit would.
        check_choice("init", self.init, DEC_CHOICES["init"])
        check_int("seed", self.seed, 0, 2**32 - 1)
        check_float("min_confidence", self.min_confidence, 0, 1)
        self._check_options()
        self.chosen_device()
        return getattr(holdfast, name)(
            n_clusters=self.n_clusters,
            subsample=self.subsample,
            device=self.device,
            random_state=self.seed,
            **self._own_parameters(),
        )

    def chosen_device(self) -> Any:
        """Return the torch device that the work will run on.

        Raises
        ------
        ParameterError
            If this machine has no such device.
        """
        from holdfast.training.batches import resolve_device

        return resolve_device(self.device)

    def _check_options(self) -> None:
        """Refuse an option that the method does not have."""
        for option, methods in ONLY_FOR.items():
            is_default = getattr(self, option) == getattr(type(self), option)
            if self.method not in methods and not is_default:
                kind = "the method" if len(methods) == 1 else "the methods"
                flag = "--" + option.replace("_", "-")
                raise ParameterError(
                    f"{flag} is for {kind} {' and '.join(methods)}, not for {self.method}: leave it out, or "
                    f"choose --method {methods[0]}."
                )

    def _own_parameters(self) -> dict[str, Any]:
        """Return the parameters that only some estimators have, for those of this method."""
        given = {
            "init": ("init", self.init),
            "fast": ("preset", "fast" if self.fast else "full"),
            "min_confidence": ("min_confidence", self.min_confidence),
        }
        own = {"keep_path": True} if self.method == "dirichlet" else {}  # for the report
        return own | dict(given[option] for option, methods in ONLY_FOR.items() if self.method in methods)
