"""Defects of trainings that continue after an interruption."""

from __future__ import annotations

from typing import Final

from tools.defects.catalogue.defect import LOOP, Defect

_RESUMING: Final = "resuming.py"

RESUMING: Final = (
    Defect(
        "resumed: fresh masks",
        "resuming",
        LOOP,
        '            draw.state = state["masks"]\n',
        "            pass\n",
    ),
    Defect(
        "resumed: fresh optimizer",
        "resuming",
        LOOP,
        '        self._optimizer.load_state_dict(state["optimizer"])\n',
        "",
    ),
    Defect(
        "resumed: schedule restarts",
        "resuming",
        LOOP,
        '        self._schedule.load_state_dict(state["schedule"])\n',
        "",
    ),
    Defect(
        "resumed: one step again",
        "resuming",
        LOOP,
        'self._restored = state["step"]',
        'self._restored = state["step"] - 1',
    ),
    Defect(
        "resumed: torch's generator not restored",
        "resuming",
        LOOP,
        '        set_generator_states(state["generators"], self._training.device)\n',
        "",
        ("loop checkpointing",),
    ),
    Defect(
        "resumed: kept before the evaluation of its epoch",
        "resuming",
        LOOP,
        "        training.on_epoch_end(epoch, self._record.end_epoch())\n"
        "        if self._keeps() and self._step < training.meter.steps:\n"
        "            self._keep()\n",
        "        if self._keeps() and self._step < training.meter.steps:\n"
        "            self._keep()\n"
        "        training.on_epoch_end(epoch, self._record.end_epoch())\n",
    ),
    Defect(
        "resumed: a state of other data",
        "resuming",
        _RESUMING,
        "(found.trial, found.checkpoint, found.data)",
        "(found.trial, found.checkpoint)",
    ),
    Defect(
        "resumed: a state of another trial",
        "resuming",
        _RESUMING,
        "(found.trial, found.checkpoint, found.data)",
        "(found.checkpoint, found.data)",
    ),
    Defect(
        "resumed: a state of other code",
        "resuming",
        _RESUMING,
        'sorted(code.rglob("*.py"))',
        'sorted(code.glob("*.py"))',
    ),
    Defect(
        "resumed: a state of any origin",
        "resuming",
        _RESUMING,
        '    return state if found["origin"] == self.origin else None\n',
        "    return state\n",
    ),
    Defect(
        "resumed: a damaged state",
        "resuming",
        _RESUMING,
        "            if hashlib.sha256(content).digest() != digest:\n                return None\n",
        "",
    ),
)
