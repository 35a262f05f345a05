"""This machine as documents: what would stop a run, one row a finding, and how far equal times lie apart."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Final

from harness.analysis.stats.machine_states import LEAST_STATES, between_run_band, states_apart
from harness.machine.diagnosis import Finding, exit_code
from harness.model.calibration import Noise, values_by_state
from harness.model.status import CaseStatus
from harness.output.document import Case, Column, Document, Table, Tone
from harness.output.numbers import NOTHING
from harness.words import count

_CASE_OF: Final[dict[str, CaseStatus]] = {"ok": "passed", "warning": "skipped", "problem": "failed"}
_TONES: Final[dict[str, Tone]] = {"ok": "", "warning": "", "problem": "bad"}


def diagnosis_document(findings: tuple[Finding, ...]) -> Document:
    """The findings in their order; a problem is a failed case, a warning a skipped one."""
    problems = sum(found.level == "problem" for found in findings)
    return Document(
        kind="diagnosis",
        title="this machine",
        outcome="FAIL" if problems else "PASS",
        model={
            "findings": [found.model_dump() for found in findings],
            "exit_code": exit_code(findings),
        },
        tables=(Table("Findings", _finding_columns(findings)),),
        layout="rows",
        name="harness doctor",
        cases=[
            Case(found.what, "harness.doctor", _CASE_OF[found.level], found.what, found.advice or "")
            for found in findings
        ],
        verdict=(
            f"{count(problems, 'problem')} would stop a run" if problems else "nothing here would stop a run",
        ),
    )


def _finding_columns(findings: Sequence[Finding]) -> tuple[Column, ...]:
    levels = tuple(found.level for found in findings)
    return (
        Column("level", levels, numeric=False, tones=tuple(_TONES[level] for level in levels)),
        Column("finding", tuple(found.what for found in findings), numeric=False),
        Column("advice", tuple(found.advice or "" for found in findings), numeric=False, below=True),
    )


_BUSY: Final = 0.2


def noise_document(noise: Noise) -> Document:
    """The band of each metric, within and between runs, and the numbers behind it."""
    return Document(
        kind="calibration",
        title=f"noise of machine {noise.fingerprint}, {count(noise.repeats, 'equal run')} in "
        f"{count(len(states_apart(noise.states)), 'state')}",
        model=noise,
        summary=(described(noise),),
        tables=(Table("Bands", _band_columns(noise)),),
        notes=tuple(_advice(noise)),
    )


def stored_document(stored: Sequence[Noise], folder: str, *, damaged: bool) -> Document:
    """One row for each band of each calibration in the folder; `damaged` if it has others, too."""
    none = not stored and not damaged
    return Document(
        kind="calibration",
        title=f"no calibration in {folder}: `harness calibrate SUITE` makes one"
        if none
        else f"noise: {count(len(stored), 'calibration')} in {folder}",
        model={"calibrations": [noise.model_dump(mode="json") for noise in stored]},
        tables=(Table("Calibrations", _stored(stored)),) if stored else (),
    )


def described(noise: Noise) -> str:
    """The trial that was repeated: `minilm, dynamic, cpu`."""
    return f"{noise.trial.checkpoint}, {noise.trial.padding}, {noise.trial.device}"


def _band_columns(noise: Noise) -> tuple[Column, ...]:
    states = states_apart(noise.states)
    between = (between_run_band(values_by_state(states, metric)) for metric in noise.bands)
    return (
        Column("metric", tuple(noise.bands), numeric=False),
        Column("band", tuple(map(_percent, noise.bands.values()))),
        Column("between runs", tuple(map(_percent, between))),
        Column("smallest", tuple(f"{min(noise.values[metric]):.4g}" for metric in noise.bands)),
        Column("largest", tuple(f"{max(noise.values[metric]):.4g}" for metric in noise.bands)),
    )


def _stored(stored: Sequence[Noise]) -> tuple[Column, ...]:
    rows = [(noise, metric) for noise in stored for metric in noise.bands]
    return (
        Column("machine", tuple(noise.fingerprint for noise, _ in rows), numeric=False),
        Column("measured", tuple(f"{noise.created:%Y-%m-%d %H:%M}" for noise, _ in rows), numeric=False),
        Column("trial", tuple(described(noise) for noise, _ in rows), numeric=False),
        Column("metric", tuple(metric for _, metric in rows), numeric=False),
        Column("band", tuple(_percent(noise.bands[metric]) for noise, metric in rows)),
        Column("runs", tuple(str(noise.repeats) for noise, _ in rows)),
        Column("states", tuple(str(len(states_apart(noise.states))) for noise, _ in rows)),
    )


def _percent(band: float | None) -> str:
    return NOTHING if band is None else f"±{100 * band:.2g} %"


def _advice(noise: Noise) -> Iterator[str]:
    states = len(states_apart(noise.states))
    if states >= LEAST_STATES:
        yield f"between runs: two runs of one trial each, at 95 %, from {states} states of the machine"
    else:
        yield "one state of the machine: calibrate again later, or with --spread 10m, for a band between runs"
    if states < len(noise.states):
        yield "calibrations that end less than a minute after each other meet one state of the machine"
    if any(band > _BUSY and metric.startswith("train_") for metric, band in noise.bands.items()):
        yield "is the machine busy? training should vary by a few percent"
