"""Training: one epoch loop, one monitor, whatever is being trained."""

from holdfast.training.callbacks import report_to
from holdfast.training.loop import LoopResult, Stage, run_epochs
from holdfast.training.monitor import Action, ConvergenceMonitor, Verdict

__all__ = ["Action", "ConvergenceMonitor", "LoopResult", "Stage", "Verdict", "report_to", "run_epochs"]
