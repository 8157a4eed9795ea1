"""Recursive reasoning at inference: think, criticise, revise, answer again, integrate."""

from preflexor_pl.reasoning.recursion import Reasoner
from preflexor_pl.reasoning.settings import ReasoningSettings
from preflexor_pl.reasoning.trace import Source, Step, Trace

__all__ = ["Reasoner", "ReasoningSettings", "Source", "Step", "Trace"]
