"""What a document about a report holds beside its table: the epochs, the environment, how to run it again."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC

from harness.analysis.naming import labels
from harness.analysis.parity import judge, limit_of, verdict_of
from harness.analysis.rows import Row
from harness.analysis.summary import estimate
from harness.analysis.training import failed_checks, training_verdict
from harness.model.environment import Environment
from harness.model.metrics import METRICS
from harness.model.quality import Epoch
from harness.model.results import Report, TrialResult
from harness.output.cells import Column, mean_and_spread
from harness.output.numbers import NOTHING, size
from harness.words import count


def history(report: Report, rows: Sequence[Row]) -> list[Column]:
    """Return each variant's epochs, mean over its sound trials; empty where no trial finished one."""
    labelled = {row.variant: row.label for row in rows}
    found = [
        (labelled[variant], [result.epochs[at] for result in results if at < len(result.epochs)])
        for variant, trials in report.variants().items()
        if (results := [result for result in trials if result.sound])
        for at in range(max(len(result.epochs) for result in results))
    ]
    if not found:
        return []
    metrics = dict.fromkeys(metric for _, alike in found for one in alike for metric in one.values)
    return [
        Column("variant", tuple(name for name, _ in found), numeric=False),
        Column("epoch", tuple(str(alike[0].epoch) for _, alike in found)),
        Column("seeds", tuple(str(len(alike)) for _, alike in found)),
        *(
            Column(METRICS[metric].label, tuple(_mean(metric, alike) for _, alike in found))
            for metric in metrics
        ),
    ]


def _mean(metric: str, epochs: Sequence[Epoch]) -> str:
    values = (value for epoch in epochs if (value := epoch.values.get(metric)) is not None)
    return mean_and_spread(metric, estimate(values))


def environment(report: Report) -> list[tuple[str, str]]:
    """Where the run happened, as pairs of a name and a text."""
    of_run = report.environment
    of_trials = [result.environment for result in report.results if result.environment is not None]
    first = of_trials[0] if of_trials else of_run
    pairs = [
        ("processor", f"{of_run.cpu.model}, {of_run.cpu.architecture}, {_cores(of_run)}"),
        ("memory", size(of_run.memory_bytes)),
        *dict.fromkeys(("device", _device(one)) for one in of_trials if one.device is not None),
        ("threads", "" if first.threads is None else str(first.threads)),
        ("system", f"{of_run.system}, Python {of_run.python}"),
        ("packages", ", ".join(f"{name} {version}" for name, version in sorted(first.packages.items()))),
        ("variables", ", ".join(f"{name}={value}" for name, value in sorted(of_run.variables.items()))),
        ("commit", _commit(of_run)),
        *dict.fromkeys(("data", text) for text in _data(report)),
        *dict.fromkeys(("checkpoint", text) for text in _checkpoints(report)),
    ]
    return [(name, text) for name, text in pairs if text]


def created(report: Report) -> str:
    """When the report was written: `2026-01-02 03:04:05 UTC`."""
    return f"{report.created.astimezone(UTC):%Y-%m-%d %H:%M:%S} UTC"


def reproduce(report: Report) -> list[str]:
    """What to type to see this report again and to run its suite again."""
    return [
        "the table again: harness show report.json",
        "the same suite again: harness run suite.yaml --fresh, with the suite.yaml beside this file",
        f"the same code: harness {report.harness_version}" + _at_commit(report.environment),
    ]


def _at_commit(of_run: Environment) -> str:
    return f" at commit {_commit(of_run)}" if of_run.git else ""


def _commit(of_run: Environment) -> str:
    if of_run.git is None:
        return ""
    return of_run.git.commit + (", with uncommitted changes" if of_run.git.dirty else "")


def _cores(of_run: Environment) -> str:
    flags = f", {' '.join(of_run.cpu.flags)}" if of_run.cpu.flags else ""
    return f"{count(of_run.cpu.physical_cores, 'physical core')}, {of_run.cpu.logical_cores} logical{flags}"


def _device(of_trial: Environment) -> str:
    device = of_trial.device
    if device is None:
        return ""
    index = "" if device.index is None else f":{device.index}"
    memory = "" if device.memory_bytes is None else f", {size(device.memory_bytes)}"
    driver = "" if device.driver is None else f", driver {device.driver}"
    return f"{device.kind}{index} {device.name}{memory}{driver}"


def _data(report: Report) -> list[str]:
    return [
        f"{data.name} from {data.source}{f' at {data.revision}' if data.revision else ''}, "
        f"{count(data.train_examples, 'training pair')}, {count(data.eval_examples, 'validation pair')}, "
        f"content {data.content_sha256[:12]}{', synthetic' if data.synthetic else ''}"
        for result in report.results
        if (data := result.data) is not None
    ]


def _checkpoints(report: Report) -> list[str]:
    return [
        f"{found.name} from {found.source}{f' at {found.revision}' if found.revision else ''}, "
        f"{found.model_type}, {count(found.parameters, 'parameter')}, weights {found.weights_sha256[:12]}"
        f"{f', stand-in for {found.requested}' if found.stand_in else ''}"
        f"{f'; {found.columns_note}' if found.columns_note else ''}"
        for result in report.results
        if (found := result.checkpoint) is not None
    ]


def proved(proofs: Sequence[TrialResult]) -> list[Column]:
    """What each proof found, every difference beside its limit."""
    if not proofs:
        return []
    names = labels(proof.trial for proof in proofs)
    return [
        Column("variant", tuple(names[proof.trial.variant_id] for proof in proofs), numeric=False),
        Column("logit difference", tuple(map(_logit, proofs))),
        Column("gradient error", tuple(map(_gradient, proofs))),
        *_of_newer_proofs(proofs),
        Column("flipped", tuple(map(_flipped, proofs))),
        Column("parity", tuple(verdict_of(proof) for proof in proofs), numeric=False),
    ]


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
    return _beside(proof.parity.largest_logit_difference, limit.logit)


def _gradient(proof: TrialResult) -> str:
    if proof.parity is None:
        return NOTHING
    limit = limit_of(proof.parity, proof.trial.precision)
    return _beside(proof.parity.relative_gradient_error, limit.gradient)


def _tensor(proof: TrialResult) -> str:
    """The largest error of one parameter's gradient; older reports have none."""
    if proof.parity is None or proof.parity.tensor_gradient_error is None:
        return NOTHING
    limit = limit_of(proof.parity, proof.trial.precision)
    return _beside(proof.parity.tensor_gradient_error, limit.tensor)


def _in_fp32(proof: TrialResult) -> str:
    """The verdict on the same variant in fp32, for a reduced precision."""
    if proof.parity is None or proof.parity.fp32 is None:
        return NOTHING
    return judge(proof.parity.fp32, "fp32")


def _flipped(proof: TrialResult) -> str:
    parity = proof.parity
    return NOTHING if parity is None else f"{parity.flipped_predictions} of {parity.examples}"


def _beside(value: float, limit: float) -> str:
    return f"{value:.1e} (limit {limit:.0e})"


def proved_training(proofs: Sequence[TrialResult]) -> list[Column]:
    """What each proof of training found: how many checks passed, and those that did not."""
    if not proofs:
        return []
    names = labels(proof.trial for proof in proofs)
    return [
        Column("trained", tuple(names[proof.trial.variant_id] for proof in proofs), numeric=False),
        Column("passed", tuple(map(_passed, proofs))),
        Column("nearest limit", tuple(map(_nearest, proofs)), numeric=False),
        Column("training", tuple(map(training_verdict, proofs)), numeric=False),
        Column("failed", tuple(_failed(proof) for proof in proofs), numeric=False),
    ]


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
