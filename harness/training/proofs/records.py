"""Checks of the fields of a result: marks of degenerate predictions, scores, losses, modes and changes.

The rows of a proof are one split whose predictions differ, its steps are few, and all of its modules train.
These are fixed tables.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import chain, pairwise
from typing import Final

import numpy as np
import numpy.typing as npt
import torch
from torch import nn

from harness.model.metrics import on_split
from harness.model.proof import TrainingCheck
from harness.model.tasks import TaskKind
from harness.training.evaluation import score, score_splits
from harness.training.fitting import thinned
from harness.training.measuring.observing import TrainingWatch
from harness.training.proofs.findings import none_of
from harness.training.proofs.scores import scores_of

_ROWS: Final = 12
_EQUAL: Final = 1e-6
_CORRELATIONS: Final = frozenset({"eval_pearson", "eval_spearman"})


def check_records(kind: TaskKind) -> TrainingCheck:
    """Marks and scores of fixed tables, the mean losses of a long training, and known changes of a model."""
    of_kind = _constant_problems() if kind == "regression" else _split_problems()
    return none_of(
        "records",
        chain(of_kind, _loss_problems(), _change_problems()),
        "degenerate predictions are marked, each split has its own scores, losses are means, "
        "and modes and changes are the model's",
    )


def _split_problems() -> Iterator[str]:
    """Score three splits of unequal size, of which each in turn has predictions of one class."""
    random = np.random.default_rng(0)
    sizes = {"first": _ROWS, "second": _ROWS + 5, "third": _ROWS + 9}
    edges = np.cumsum([0, *sizes.values()]).tolist()
    labels = random.integers(0, 2, edges[-1])
    for single in (None, *range(len(sizes))):
        logits = random.normal(size=(edges[-1], 2)).astype(np.float32)
        for start, _ in pairwise(edges):
            logits[start : start + 2] = ((1, 0), (0, 1))
        if single is not None:
            logits[edges[single] : edges[single + 1], 1] -= 100
        found = score_splits(logits, labels, sizes)
        if found.degenerate != (single is not None):
            where = "no split" if single is None else f"split {single + 1} of {len(sizes)}"
            yield f"predictions of one class in {where} are marked as {found.degenerate}"
        for place, (split, (start, end)) in enumerate(zip(sizes, pairwise(edges), strict=True)):
            due = scores_of(logits[start:end].tolist(), labels[start:end].tolist())
            for metric, value in due.items():
                name = on_split(metric, split) if place else metric
                if abs(found.scores.get(name, np.nan) - value) <= _EQUAL:
                    continue
                yield f"{name} of split {place + 1} is {found.scores.get(name)}, due {value:.6g}"


def _constant_problems() -> Iterator[str]:
    """Score outputs and targets of which none, the one or the other is constant."""
    rising: npt.NDArray[np.float64] = np.arange(_ROWS, dtype=np.float64)
    constant = np.full(_ROWS, 2.5)
    for outputs, targets, what in (
        (rising**2, rising, ""),
        (constant, rising, "outputs"),
        (rising, constant, "targets"),
    ):
        found = score(outputs[:, None].astype(np.float32), targets)
        if found.degenerate != bool(what):
            yield f"a regression with {f'constant {what}' if what else 'no constant'} is marked otherwise"
        if bool(_CORRELATIONS & found.scores.keys()) == bool(what):
            yield f"a regression with {f'constant {what}' if what else 'no constant'} has other correlations"


def _loss_problems() -> Iterator[str]:
    """Keep losses of which every sum of neighbours is another number."""
    losses = [float(4**at) for at in range(7)]
    for most, due in ((7, losses), (4, [2.5, 40.0, 640.0, 4096.0]), (3, [7.0, 448.0, 4096.0])):
        if (found := thinned(losses, most)) != due:
            yield f"losses of {len(losses)} steps in at most {most} numbers are {found}, due {due}"


def _change_problems() -> Iterator[str]:
    """Watch a model of which one layer is frozen, one stands still and each module in turn does not train."""
    for still in (None, 0, 1, 2):
        first, frozen = nn.Linear(3, 3), nn.Linear(3, 3).requires_grad_(requires_grad=False)
        layers = [first, nn.Dropout(0.5), nn.Linear(3, 3), frozen]
        model = nn.Sequential(*layers)
        with torch.no_grad():
            for each in model.parameters():
                each.fill_(2.0)
        watch = TrainingWatch(model)
        watch.begin()
        if still is not None:
            layers[still].eval()
        model(torch.ones(1, 3))
        with torch.no_grad():
            # Of 24 elements of 2 that train 12 become 3: the root of 12 x 1 over 24 x 4.
            for each in first.parameters():
                each.fill_(3.0)
            frozen.bias.fill_(3.0)
        found = watch.end()
        if found.training_mode != (still is None,):
            yield f"an epoch that begins with module {still} of 4 in evaluation mode counts as training"
        if abs(found.parameter_change - 0.125**0.5) > _EQUAL:
            yield f"a change of {0.125**0.5:.6g} is noted as {found.parameter_change:.6g}"
        if found.unmoved != ("2.weight", "2.bias") or found.moved_frozen != ("3.bias",):
            yield f"{found.unmoved} are noted as unmoved, and {found.moved_frozen} as changed though frozen"
