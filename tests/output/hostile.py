"""Texts that attack a terminal, spreadsheet, page or build, and a report that holds one everywhere."""

from __future__ import annotations

from typing import Any, Final

from harness.model.environment import Cpu, Device, Git
from harness.model.measurements import measured, unmeasured
from harness.model.results import Report, TrialResult
from harness.model.trial import Task
from tests.factories import (
    make_checkpoint,
    make_data,
    make_environment,
    make_report,
    make_result,
    make_suite,
    make_trial,
)

_ROOFLINE: Final = (
    measured("square_matmul_peak_flops_per_second", 1e9),
    unmeasured("matmul_peak_share", "no shape"),
)
HOSTILE: Final = (
    "\x1b[31mred\x1b[0m\x1b[2J",
    "\x1b]0;title\x07\x1b]8;;http://evil\x1b\\link",
    "\x9b31m\x9d0;title\x9c",
    "model\u202egnp.exe\u2066\u200b\ufeff",
    "model[/]",
    "[bold]model[link=http://evil]x",
    "a|b||c",
    "one\ntwo\r\nthree\rfour\u2028five",
    "<script>alert(1)</script><img src=x onerror=alert(1)>\"' onmouseover=alert(1)",
    "=cmd|' /C calc'!A0",
    "@SUM(1+1)*cmd|' /C calc'!A0",
    "::error::x%0A::warning::y\n::error file=a::z ##[error]x",
    "nul\x00\x08\x7f",
    "lone\ud800surrogate",
    "`code` ```fence``` ![i](http://evil/i.png) [l](javascript:alert(1)) **b** www.evil.com",
    "]]><evil/>&amp;&#x1b;",
    "long " + "x" * 100_000 + " end",
)


def hostile_report(text: str) -> Report:
    """A report with `text` in every text field that is not checked by a pattern."""
    fields: dict[str, Any] = {
        "checkpoint": text,
        "revision": text,
        "task": _loose(Task, dataset=text, config=text, revision=text, data_dir=text, label=text),
        "device": text,
    }
    trial = _loose(make_trial, **fields)
    other = trial.model_copy(update={"seed": 1, "device": text + "2"})
    checkpoint = make_checkpoint(stand_in=True).model_copy(
        update=dict.fromkeys(
            ("requested", "name", "revision", "weights_sha256", "model_type", "dtype", "columns_note"), text
        )
        | dict.fromkeys(("columns", "newly_initialized", "unused"), (text,))
    )
    data = make_data(synthetic=True).model_copy(
        update=dict.fromkeys(("requested", "name", "revision", "content_sha256"), text) | {"labels": (text,)}
    )
    cpu = make_environment().cpu.model_copy(update={"model": text, "architecture": text, "flags": (text,)})
    assert isinstance(cpu, Cpu)
    device = Device(kind="cpu", name="x").model_copy(update={"name": text, "driver": text})
    environment = make_environment().model_copy(
        update={
            "python": text,
            "system": text,
            "packages": {"torch": text, text: text},
            "variables": {text: text},
            "cpu": cpu,
            "git": Git(commit="x", dirty=True).model_copy(update={"commit": text}),
            "device": device,
        }
    )
    done = make_result().model_copy(
        update={
            "trial": trial,
            "checkpoint": checkpoint,
            "data": data,
            "environment": environment,
            "metric_version": text,
            "notes": (text,),
            "measurements": tuple(
                one if one.reason is None else one.model_copy(update={"reason": text})
                for one in (*make_result().measurements, *_ROOFLINE)
            ),
        }
    )
    failed = make_result(make_trial(), status="failed").model_copy(
        update={"trial": other, "reason": text, "log_tail": f"first\n{text}\n{text}", "notes": (text,)}
    )
    assert isinstance(done, TrialResult)
    return make_report([done, failed]).model_copy(
        update={
            "suite": make_suite(reference={"eval_accuracy": 0.8}).model_copy(
                update={"name": text, "task": trial.task}
            ),
            "run": text,
            "harness_version": text,
            "notes": (text,),
            "environment": environment,
        }
    )


def _loose(make: Any, **texts: Any) -> Any:
    """Built with a harmless text and then changed, since validation refuses lone surrogates."""
    made = make()
    return made.model_copy(update=texts)
