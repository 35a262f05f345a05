"""Realistic defects of training code, one file for each kind."""

from __future__ import annotations

from typing import Final

from tools.defects.catalogue.accumulation import ACCUMULATION
from tools.defects.catalogue.adapter import ADAPTER
from tools.defects.catalogue.batches import BATCHES
from tools.defects.catalogue.compiling import COMPILING
from tools.defects.catalogue.counts import COUNTS
from tools.defects.catalogue.data import DATA
from tools.defects.catalogue.defect import Defect, Kind, Variant
from tools.defects.catalogue.dropout import DROPOUT
from tools.defects.catalogue.evaluation import EVALUATION
from tools.defects.catalogue.measuring import MEASURING
from tools.defects.catalogue.model import MODEL
from tools.defects.catalogue.optimizer import OPTIMIZER
from tools.defects.catalogue.precision import PRECISION
from tools.defects.catalogue.ranks import RANKS
from tools.defects.catalogue.regression import REGRESSION
from tools.defects.catalogue.resuming import RESUMING
from tools.defects.catalogue.saving import SAVING
from tools.defects.catalogue.schedule import SCHEDULE

__all__ = ["DEFECTS", "Defect", "Kind", "Variant"]

DEFECTS: Final[tuple[Defect, ...]] = (
    *ADAPTER,
    *OPTIMIZER,
    *SCHEDULE,
    *ACCUMULATION,
    *BATCHES,
    *DROPOUT,
    *MODEL,
    *PRECISION,
    *EVALUATION,
    *COUNTS,
    *COMPILING,
    *RANKS,
    *REGRESSION,
    *RESUMING,
    *SAVING,
    *DATA,
    *MEASURING,
)
