"""Proofs as a document: differences with their limits, and a verdict for each variant."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Final

from harness.analysis.assets_used import asset_sentences
from harness.analysis.naming import labels
from harness.analysis.parity import judge, limit_of, verdict_of
from harness.analysis.training_verdicts import failed_checks, training_verdict
from harness.model.results import Report, TrialResult
from harness.model.status import CaseStatus
from harness.output.builders.report_parts.charts_of_run import MOST_DRAWN
from harness.output.document import Case, Chart, Column, Document, Table
from harness.output.drawings import Axis, Effect, Forest, Mark
from harness.output.numbers import NOTHING
from harness.words import count

_CASE_OF: Final[dict[str, CaseStatus]] = {
    "exact": "passed",
    "within": "passed",
    "same": "passed",
    "differs": "failed",
    "unproven": "error",
}
PARITY: Final = "Parity with the plain model"
"""The title of the table of functions, and of its chart."""
_MARKS: Final[dict[str, Mark]] = {"exact": "same", "within": "better", "differs": "worse"}
# A logarithmic axis has no zero.
_LEAST_DRAWN: Final = 1e-9


def proofs_document(functions: Sequence[TrialResult], trainings: Sequence[TrialResult]) -> Document:
    """One row for each function and each way of training, with why a proof failed or could not be made."""
    functions_of = labels(proof.trial for proof in functions)
    trainings_of = labels(proof.trial for proof in trainings)
    return Document(
        kind="list of proofs",
        title="parity with the plain model: eager attention, padded, fp32, dropout off",
        model={
            "functions": [proof.model_dump(mode="json") for proof in functions],
            "trainings": [proof.model_dump(mode="json") for proof in trainings],
        },
        tables=(
            Table(PARITY, proved(functions)),
            *([_trainings(trainings)] if trainings else []),
        ),
        notes=(*asset_sentences([*functions, *trainings]), *_unmade(functions)),
        name="proofs",
        cases=[
            *(_case("parity", functions_of, proof, verdict_of(proof)) for proof in functions),
            *(_case("training", trainings_of, proof, training_verdict(proof)) for proof in trainings),
        ],
        verdict=(
            f"parity: {summary(map(verdict_of, functions))}",
            f"training: {summary(map(training_verdict, trainings))}",
        ),
    )


def summary(verdicts: Iterable[str]) -> str:
    """`3 exact, 1 within`: how often each verdict was found; a trial that only tokenises has none."""
    counts = Counter(verdicts)
    return ", ".join(f"{number} {verdict}" for verdict, number in counts.items()) or "nothing to prove"


def _trainings(proofs: Sequence[TrialResult]) -> Table:
    names = labels(proof.trial for proof in proofs)
    failed = (
        f"{names[proof.trial.variant_id]}: {check.name}: {check.found}"
        for proof in proofs
        for check in failed_checks(proof)
    )
    left = dict.fromkeys(text for proof in proofs if proof.training for text in proof.training.unproved)
    return Table(
        "training by each engine, step by step, against a reference that shares no code with it",
        proved_training(proofs),
        notes=(*failed, *_unmade(proofs), *(f"not proved: {text}" for text in left)),
    )


def _unmade(proofs: Sequence[TrialResult]) -> Iterator[str]:
    names = labels(proof.trial for proof in proofs)
    return (f"{names[proof.trial.variant_id]}: {proof.reason}" for proof in proofs if proof.reason)


def proof_cases(report: Report) -> Iterator[Case]:
    """Yield the proofs of a run as cases; what is unproven failed nothing there, and is skipped."""
    functions, trainings = report.proofs, report.training_proofs
    names = labels(proof.trial for proof in functions), labels(proof.trial for proof in trainings)
    cases = (
        *(_case("parity", names[0], proof, verdict_of(proof)) for proof in functions),
        *(_case("training", names[1], proof, training_verdict(proof)) for proof in trainings),
    )
    for case in cases:
        yield replace(case, status="skipped") if case.status == "error" else case


def _case(kind: str, names: Mapping[str, str], proof: TrialResult, verdict: str) -> Case:
    found = [f"{check.name}: {check.found}" for check in failed_checks(proof)]
    return Case(
        name=f"{kind} of {names[proof.trial.variant_id]}",
        classname=f"harness.prove.{kind}",
        status=_CASE_OF[verdict],
        message=verdict if proof.reason is None else f"{verdict}: {proof.reason}",
        details="\n".join([*found, *([proof.log_tail] if proof.log_tail else [])]),
        seconds=proof.duration_s,
    )


def proved(proofs: Sequence[TrialResult]) -> tuple[Column, ...]:
    """Return the findings of each proof, every difference with its limit."""
    if not proofs:
        return ()
    names = labels(proof.trial for proof in proofs)
    return (
        Column("variant", tuple(names[proof.trial.variant_id] for proof in proofs), numeric=False),
        Column("logit difference", tuple(map(_logit, proofs))),
        Column("gradient error", tuple(map(_gradient, proofs))),
        *_of_newer_proofs(proofs),
        Column("flipped", tuple(map(_flipped, proofs))),
        _verdicts("parity", map(verdict_of, proofs)),
    )


def parity_charts(proofs: Sequence[TrialResult]) -> tuple[Chart, ...]:
    """Return the chart of the largest logit differences, nearest to their limits first."""
    names = labels(proof.trial for proof in proofs)
    found = [
        (parity.largest_logit_difference, limit_of(parity, proof.trial.precision).logit, proof)
        for proof in proofs
        if (parity := proof.parity) is not None
    ]
    if not found:
        return ()
    drawn = sorted(found, key=lambda one: one[0] / one[1], reverse=True)[:MOST_DRAWN]
    value, limit, nearest = drawn[0]
    left = f"the {count(len(drawn), 'function')} nearest to their limits, of {len(found)}"
    effects = tuple(
        Effect(
            names[proof.trial.variant_id],
            _MARKS[verdict_of(proof)],
            f"{value:.1e}",
            max(value, _LEAST_DRAWN),
            limit=limit,
        )
        for value, limit, proof in drawn
    )
    chart = Chart(
        "parity",
        PARITY,
        f"{names[nearest.trial.variant_id]} is nearest to its limit: {value:.1e} of {limit:.0e}",
        Forest(
            Axis("largest logit difference", "number", log=True),
            None,
            effects,
            {mark: verdict for verdict, mark in _MARKS.items()},
        ),
        notes=(
            "from the plain padded fp32 model of the same weights; dashed: the limit of the precision",
            *([left] if len(drawn) < len(found) else []),
        ),
        repeats=True,
    )
    return (chart,)


def _verdicts(title: str, verdicts: Iterable[str]) -> Column:
    cells = tuple(verdicts)
    return Column(
        title, cells, numeric=False, tones=tuple("bad" if one == "differs" else "" for one in cells)
    )


def _of_newer_proofs(proofs: Sequence[TrialResult]) -> list[Column]:
    """What older reports lack: errors by tensor, and the proof in fp32 of a reduced precision."""
    columns = [
        Column("worst tensor", tuple(map(_tensor, proofs))),
        Column("in fp32", tuple(map(_in_fp32, proofs)), numeric=False),
    ]
    return [column for column in columns if set(column.cells) != {NOTHING}]


def _logit(proof: TrialResult) -> str:
    if proof.parity is None:
        return NOTHING
    limit = limit_of(proof.parity, proof.trial.precision)
    return _with_limit(proof.parity.largest_logit_difference, limit.logit)


def _gradient(proof: TrialResult) -> str:
    if proof.parity is None:
        return NOTHING
    limit = limit_of(proof.parity, proof.trial.precision)
    return _with_limit(proof.parity.relative_gradient_error, limit.gradient)


def _tensor(proof: TrialResult) -> str:
    """The largest error of one parameter's gradient; older reports have none."""
    if proof.parity is None or proof.parity.tensor_gradient_error is None:
        return NOTHING
    limit = limit_of(proof.parity, proof.trial.precision)
    return _with_limit(proof.parity.tensor_gradient_error, limit.tensor)


def _in_fp32(proof: TrialResult) -> str:
    """The verdict on the same variant in fp32, for a reduced precision."""
    if proof.parity is None or proof.parity.fp32 is None:
        return NOTHING
    return judge(proof.parity.fp32, "fp32")


def _flipped(proof: TrialResult) -> str:
    parity = proof.parity
    return NOTHING if parity is None else f"{parity.flipped_predictions} of {parity.examples}"


def _with_limit(value: float, limit: float) -> str:
    return f"{value:.1e} (limit {limit:.0e})"


def proved_training(proofs: Sequence[TrialResult]) -> tuple[Column, ...]:
    """What each proof of training found: how many checks passed, and those that did not."""
    if not proofs:
        return ()
    names = labels(proof.trial for proof in proofs)
    return (
        Column("trained", tuple(names[proof.trial.variant_id] for proof in proofs), numeric=False),
        Column("passed", tuple(map(_passed, proofs))),
        Column("nearest limit", tuple(map(_nearest, proofs)), numeric=False),
        _verdicts("training", map(training_verdict, proofs)),
        Column("failed", tuple(_failed(proof) for proof in proofs), numeric=False),
    )


def _passed(proof: TrialResult) -> str:
    if proof.training is None:
        return NOTHING
    checks = proof.training.checks
    return f"{sum(check.passed for check in checks)} of {len(checks)}"


def _nearest(proof: TrialResult) -> str:
    """The check that used most of its limit, and how much: `parameters 4 %`."""
    if proof.training is None:
        return NOTHING
    shares = [
        (check.measured / check.limit, check.name)
        for check in proof.training.checks
        if check.measured is not None and check.limit
    ]
    return f"{max(shares)[1]} {max(shares)[0]:.0%}" if shares else NOTHING


def _failed(proof: TrialResult) -> str:
    return ", ".join(check.name for check in failed_checks(proof)) or "none"
