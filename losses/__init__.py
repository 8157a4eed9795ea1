"""Preference losses on log-probs: tensors in, tensors out, nothing imported but torch.

A loss takes the summed log-probs of B pairs and returns one number per pair; it does not depend on
how they were computed (model, text, masks, packing). Every loss is a mean over pairs, so that
micro-batches and ranks cannot change the gradient. A new objective is one more file here.
"""

from losses.base import LossOutput, PairLogps, PreferenceLoss
from losses.dpo import DPOLoss
from losses.exo import EXOLoss
from losses.orpo import ORPOLoss

__all__ = ["DPOLoss", "EXOLoss", "LossOutput", "ORPOLoss", "PairLogps", "PreferenceLoss"]
