"""Defects of trainings that continue after an interruption."""

from __future__ import annotations

from typing import Final

from tools.defects.catalogue.defect import LOOP, Defect

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
)
