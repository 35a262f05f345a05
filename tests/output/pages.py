"""Documents with every kind of chart, for tests of pages."""

from __future__ import annotations

from datetime import timedelta
from functools import cache
from pathlib import Path
from typing import Any, Final

from harness.analysis.comparison.comparing import compare
from harness.analysis.gates.applying import check
from harness.analysis.over_time.series import series_of
from harness.analysis.stats.ratios import RunVariance
from harness.model.environment import Device
from harness.model.measurements import measured
from harness.model.quality import Epoch
from harness.model.results import Report, TrialResult
from harness.model.seeds import number_of
from harness.model.values import PaddingStrategy
from harness.output.builders.comparison_page import comparison_document
from harness.output.builders.gate_report import gates_document
from harness.output.builders.report import report_document
from harness.output.builders.series_tables import history_document
from harness.output.document import Document
from harness.store.reading import load_report
from harness.suite.gate_files import parse_gate
from tests.factories import STARTED, make_checkpoint, make_environment, make_report, make_result, make_trial

PADDINGS: Final[tuple[PaddingStrategy, ...]] = ("static", "dynamic", "bucketed", "unpadded")
SPEEDS: Final = dict(zip(PADDINGS, (20.0, 30.0, 38.0, 41.0), strict=True))
CALIBRATED: Final = {"train_real_tokens_per_second": RunVariance(0.001**2, 9)}


def learned(result: TrialResult, epochs: int = 3) -> TrialResult:
    """The same trial after several epochs of falling loss, with its share of the machine's peak."""
    scores = result.epochs[0].scores
    made = tuple(
        Epoch(
            epoch=at + 1,
            train_loss=0.6 / (at + 1) + 0.01 * number_of(result.trial.seed, "init"),
            scores=scores,
        )
        for at in range(epochs)
    )
    speed = result.value("train_real_tokens_per_second") or 1.0
    peaks = (
        measured("matmul_peak_share", speed / 4000),
        measured("matmul_peak_flops_per_second", 1e11),
        measured("model_flops_per_second", speed * 1e7),
    )
    return result.model_copy(update={"epochs": made, "measurements": (*result.measurements, *peaks)})


def trained(
    padding: PaddingStrategy, seed: int, *, faster: float = 1.0, accuracy: float = 0.86, **changes: Any
) -> TrialResult:
    """A trial of three epochs at its padding's speed."""
    axes = {key: changes.pop(key) for key in ("checkpoint", "device", "train") if key in changes}
    made = make_result(
        make_trial(padding, seed, **axes),
        accuracy=accuracy,
        examples=408,
        samples_per_second=faster * (SPEEDS[padding] + seed),
        **changes,
    )
    return learned(made)


@cache
def run_report() -> Report:
    """Four paddings of three seeds: one trial failed, one variant a stand-in."""
    results = [trained(padding, seed) for seed in range(3) for padding in PADDINGS]
    stand_in = make_checkpoint(stand_in=True, requested="bert-base-uncased")
    results[0] = make_result(
        results[0].trial,
        status="failed",
        reason="no space",
        log_tail="step 1\nTraceback\nOSError: no space\n",
    )
    results = [
        one.model_copy(update={"checkpoint": stand_in}) if one.trial.padding.strategy == "bucketed" else one
        for one in results
    ]
    return make_report(results)


@cache
def compared_reports() -> tuple[Report, Report]:
    """A baseline, and a faster candidate with worse scores."""
    sides = ((1.0, 0.9, "old"), (1.3, 0.8, "new"))
    return tuple(  # type: ignore[return-value]
        make_report(
            [trained(p, seed, faster=faster, accuracy=accuracy) for seed in range(3) for p in PADDINGS],
            run=run,
        )
        for faster, accuracy, run in sides
    )


def machine_report(name: str, faster: float, run: str) -> Report:
    """The four paddings on a GPU of that name, where padding costs less the faster it is."""
    device = Device(kind="cuda", name=name, memory_bytes=85_000_000_000, driver="570.10", clock_mhz=1980.0)
    environment = make_environment(device=device, threads=8)
    return make_report(
        [
            trained(p, seed, faster=faster * (1 + 0.2 * PADDINGS.index(p)), device="cuda:0").model_copy(
                update={"environment": environment}
            )
            for seed in range(3)
            for p in PADDINGS
        ],
        run=run,
    )


@cache
def quickstart_report() -> Report:
    """The report of a real run of suites/quickstart.yaml on two CPU cores."""
    return load_report(Path(__file__).parents[2] / "reports" / "samples" / "quickstart" / "report.json")


def quickstart_page() -> Document:
    """The page of a quickstart."""
    return report_document(quickstart_report())


def run_page() -> Document:
    """A report with all charts of a run."""
    return report_document(run_report())


def comparison_page(*, texts: bool = False) -> Document:
    """Two reports of one machine, with what differs and what flipped."""
    reports = compared_reports()
    found = compare(
        reports, run_variance=CALIBRATED, noise={"train_real_tokens_per_second": 0.03}, explain=True
    )
    shown = {at: (f"first {at}", f"second {at}") for at in range(408)} if texts else None
    return comparison_document(found, list(zip(("old", "new"), reports, strict=True)), shown)


def machines_page() -> Document:
    """Three machines: their speeds are not comparable with each other."""
    reports = [
        compared_reports()[0],
        machine_report("NVIDIA A100 80GB", 12.0, "a100"),
        machine_report("NVIDIA H100 80GB HBM3", 25.0, "h100"),
    ]
    names = ["cpu", "a100", "h100"]
    found = compare(reports, names=names, explain=True)
    return comparison_document(found, list(zip(names, reports, strict=True)))


def history_page() -> Document:
    """Eight reports of two paddings, of which the last four are slower."""
    reports = [
        make_report(
            [
                make_result(
                    make_trial(padding),
                    samples_per_second=(25.0 + 0.05 * (day % 3)) * (0.9 if day > 3 else 1),
                    started=STARTED + timedelta(days=day),
                )
                for padding in PADDINGS[:2]
            ],
            run=f"run-{day}",
            created=STARTED + timedelta(days=day),
        )
        for day in range(8)
    ]
    return history_document(series_of(reports, band=0.03))


def check_page() -> Document:
    """A check with drops, relative drops and bounds."""
    old, new = compared_reports()
    texts = (
        "eval_f1 drop<=0.02",
        "eval_accuracy drop<=0.3",
        "train_real_tokens_per_second drop<=10%",
        "eval_f1>=0.86",
    )
    found = check(
        new,
        baseline=old,
        gates=[parse_gate(text) for text in texts],
        run_variance=CALIBRATED,
        noise={"train_real_tokens_per_second": 0.03},
    )
    return gates_document(found)


PAGES: Final = {
    "quickstart": quickstart_page,
    "run": run_page,
    "comparison": comparison_page,
    "machines": machines_page,
    "history": history_page,
    "check": check_page,
}
