"""Texts that attack a terminal, spreadsheet, page or build, and a report that holds one everywhere."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Any, Final

from harness.analysis.comparison.comparing import compare
from harness.analysis.forecast.estimating import Estimate
from harness.analysis.forecast.likeness import Range, TrialEstimate
from harness.analysis.gates.applying import check
from harness.analysis.gates.cases import GateCase, GateReport
from harness.analysis.over_time.series import Band, Change, Line, Point, Series, Track
from harness.analysis.scored_again import Rescored
from harness.machine.diagnosis import Finding
from harness.model.environment import Cpu, Device, Git
from harness.model.inspection import Example, InspectedBatch, Inspection, LengthBin, ModelInputs, SplitCounts
from harness.model.measurements import measured, unmeasured
from harness.model.metrics import metrics_of
from harness.model.proof import TrainingCheck, TrainingProof
from harness.model.results import Report, TrialResult
from harness.model.tasks import Task
from harness.model.trial import Trial
from harness.output.builders.comparison_page import comparison_document
from harness.output.builders.gate_report import gates_document
from harness.output.builders.inspected_data import inspection_document
from harness.output.builders.listings import Kept, baselines_document, exports_document, runs_document
from harness.output.builders.planned_trials import Planned, plan_document
from harness.output.builders.proof_tables import proofs_document
from harness.output.builders.recomputed_scores import rescoring_document
from harness.output.builders.report import report_document
from harness.output.builders.series_tables import history_document
from harness.output.builders.this_machine import diagnosis_document, noise_document
from harness.output.document import Document, failure_document
from harness.output.trackers.known_trackers import Exported
from harness.output.trackers.runs import tracked_runs
from harness.store.listing import StoredRun
from tests.factories import (
    STARTED,
    make_checkpoint,
    make_data,
    make_environment,
    make_noise,
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


def _estimated(trial: Trial, text: str) -> Estimate:
    each = TrialEstimate(Range(1, 2), None, None, Range(1, 2), 1, (text,))
    return Estimate({trial.id: each}, (), 0, 0, (text,), Range(1, 2), None, None, None, Range(1, 2))


@cache
def hostile_documents(text: str) -> dict[str, Document]:
    """A document of every kind, and of a failure, with `text` wherever text from outside is shown."""
    report = hostile_report(text)
    names = [f"a {text}", f"b {text}"]
    done, failed = report.results
    one = TrainingCheck(name="x", passed=False, found="x").model_copy(update={"name": text, "found": text})
    trained = TrainingProof(checks=()).model_copy(update={"checks": (one,), "unproved": (text,)})
    proofs = [
        done.model_copy(update={"training": trained}),
        failed.model_copy(update={"log_tail": text}),
    ]
    noise = make_noise((25.0, 26.0))
    rescored = Rescored(text, dict.fromkeys(metrics_of("quality"), (0.5, None)), (text,))
    finding = Finding(level="problem", what="x").model_copy(update={"what": text, "advice": text})
    trials = [done.trial, failed.trial]
    plan = Planned(
        text,
        trials,
        [(text, text, text)],
        [(text, text)],
        [(text, False)],
        text,
        [text],
        _estimated(trials[0], text),
    )
    found = [
        report_document(report, roofline=True),
        comparison_document(compare([report, report], names=names, explain=True)),
        gates_document(_judged(text)),
        proofs_document(proofs, proofs),
        noise_document(noise.model_copy(update={"trial": done.trial})),
        rescoring_document(report, [rescored], text),
        plan_document(plan),
        inspection_document(inspected(text)),
        baselines_document([Kept(text, text, text), Kept(text, unreadable=text)]),
        diagnosis_document((finding,)),
        history_document(_series(report, text), [text]),
        exports_document([Exported(each, added=True) for each in tracked_runs(report)], text, text),
        runs_document([StoredRun(Path(text), text, "unreadable", None, 1, 2, 1, report, text)], STARTED),
    ]
    return {
        **{document.kind: document for document in found},
        "failure": failure_document(text, text, 2, "check", "check"),
    }


def inspected(text: str) -> Inspection:
    """An inspection of a data set and a tokenizer whose every text is given from outside."""
    example = Example.model_construct(
        row=0,
        texts={text: text},
        label=0,
        label_name=text,
        tokens=(text, text),
        input_ids=(1, 2),
        token_type_ids=(0, 1),
        attention_mask=(1, 1),
        unknown_tokens=1,
        length_uncut=3,
    )
    split = SplitCounts.model_construct(
        split=text, rows=1, tokens=2, shortest=2, mean=2.0, longest=2, unknown_share=None
    )
    batch = InspectedBatch.model_construct(padding=text, batch_size=8, order="file", reason=text)
    return Inspection.model_construct(
        checkpoint=text,
        stand_in_for=text,
        data=text,
        tokenizer=text,
        vocabulary=1,
        max_length=2,
        truncated=1,
        seed=0,
        example=example,
        batches=(batch,),
        splits=(split, split),
        lengths=(LengthBin(least=1, most=2, train=1, evaluation=0),),
        model=ModelInputs.model_construct(name=text, parameters=(text,), columns=(text,), note=text),
    )


def _series(report: Report, text: str) -> Series:
    """Series of one line in which every text was given from outside."""
    points = (Point(report, (0,), {"eval_accuracy": 0.5}), Point(report, (0,), {"eval_accuracy": 0.9}))
    track = Track("eval_accuracy", points, Band(0.1, text), (Change(1, 0.5, 0.9),))
    line = Line(text, text, text, text, text, text, {text: text}, (text,), points, (track,))
    return Series((line,), ("eval_accuracy",), 1, (text,))


def _judged(text: str) -> GateReport:
    """A check in which every text was given from outside."""
    case = GateCase(rule="x", kind="drop", variant="x", verdict="failed", reason="x")
    texts = dict.fromkeys(("rule", "variant", "reason", "metric", "unit", "next_step"), text)
    found = check(make_report(), gates=[])
    return found.model_copy(
        update={
            **dict.fromkeys(("suite", "report", "baseline"), text),
            "cases": (case.model_copy(update=texts | {"notes": (text,), "assets": (text,)}),),
            "noise": {text: 0.1},
            "allowed_mismatches": (text,),
            "notes": (text,),
        }
    )


def _loose(make: Any, **texts: Any) -> Any:
    """Built with a harmless text and then changed, since validation refuses lone surrogates."""
    made = make()
    return made.model_copy(update=texts)
