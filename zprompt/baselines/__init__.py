"""Give other ways of shortening a prompt, behind one protocol (`protocol.py`): what Z-tokens are compared with."""

from zprompt.baselines.protocol import Baseline, LosslessBaseline, Shortened
from zprompt.baselines.registry import create, names, options_of, unavailable

__all__ = ["Baseline", "LosslessBaseline", "Shortened", "create", "names", "options_of", "unavailable"]
