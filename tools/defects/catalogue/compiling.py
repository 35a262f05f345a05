"""Defects of compiled models: what is compiled, and what compiling ahead leaves behind."""

from __future__ import annotations

from typing import Final

from tools.defects.catalogue.defect import Defect

_PATH: Final = "variants/compiling.py"
_COMPILE: Final = "torch.compile(model.forward, "

COMPILING: Final = (
    Defect(
        "gradient of the compiled first pass kept",
        "compile",
        _PATH,
        "            parameter.grad.zero_()\n",
        "            pass\n",
        ("loop compiled",),
    ),
    Defect(
        "a copy of the model compiled",
        "compile",
        _PATH,
        _COMPILE,
        "torch.compile(__import__('copy').deepcopy(model).forward, ",
        ("trainer compiled", "loop compiled"),
    ),
    Defect(
        "compiled under autocast",
        "compile",
        _PATH,
        _COMPILE,
        "torch.compile(torch.autocast('cpu', torch.bfloat16)(model.forward), ",
        ("trainer compiled", "loop compiled"),
    ),
    Defect(
        "compiled in evaluation mode",
        "compile",
        _PATH,
        "    dynamic = None if",
        "    for part in model.base_model.modules():\n        part.train = lambda mode=True: part\n        part.training = False\n    dynamic = None if",
        ("loop compiled",),
    ),
    Defect(
        "compiled loss doubled",
        "compile",
        "engines/loop.py",
        "            loss = training.loss_of(training.model, there)\n",
        "            loss = training.loss_of(training.model, there)\n            loss = loss * 2 if is_compiled(training.trial) else loss\n",
        ("loop compiled",),
    ),
)
