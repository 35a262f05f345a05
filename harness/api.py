"""Run and prove suites from Python: what `harness run` and `harness prove` do, without their printing."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from harness.assets.digest import file_sha256
from harness.machine.facts import available_devices
from harness.model.job import Observer
from harness.model.results import Report
from harness.model.suite import Suite
from harness.model.trial import Trial
from harness.running import one_run as running
from harness.running.options import RunOptions, UntilDecided
from harness.running.proving import Proofs
from harness.running.seams import Run, Seams
from harness.store.saved_models import CARD, saved_model
from harness.store.writing import to_json, write_atomic
from harness.suite import matrix

__all__ = ["Run", "RunOptions", "UntilDecided", "expand", "prove_suite", "render_files", "run_suite"]


def expand(suite: Suite, devices: Sequence[str] | None = None) -> tuple[Trial, ...]:
    """Return the trials of a suite in the order they run.

    Args:
        suite: from `load_suite`.
        devices: the devices that `auto` and `all` select from; None takes those of this machine.

    Raises:
        InvalidInputError: the matrix has no trial, too many, or an impossible one.
    """
    return matrix.expand(suite, available_devices() if devices is None else devices)


def run_suite(
    suite: Suite,
    options: RunOptions | None = None,
    *,
    suite_text: bytes | None = None,
    observer: Observer | None = None,
    seams: Seams | None = None,
    until: UntilDecided | None = None,
) -> Run:
    """Run every trial of a suite that is not done yet, and write the report.

    Args:
        suite: from `load_suite`.
        options: None takes the defaults of `harness run`.
        suite_text: the suite file, of which the run directory keeps a copy; None writes the suite as JSON.
        observer: receives every event of the run.
        seams: for tests.
        until: add seeds until the variants are decided; None runs the seeds of the suite.

    Raises:
        HarnessError: as `harness.running.one_run.run_suite` does.
        KeyboardInterrupt: interrupted before the first trial, or twice.
    """
    options = options or RunOptions()
    run = running.run_suite(
        suite,
        to_json(suite) if suite_text is None else suite_text,
        options,
        observer=observer or Observer(),
        render=render_files,
        seams=seams,
        until=until,
    )
    if options.save_models is not None:
        _write_cards(run, options.save_models)
    return run


def prove_suite(
    suite: Suite,
    options: RunOptions | None = None,
    *,
    observer: Observer | None = None,
    seams: Seams | None = None,
) -> Proofs:
    """Prove every distinct function and way of training of a suite, and keep nothing on disk.

    Takes the arguments of `run_suite`.

    Raises:
        UnavailableError: nothing can run here, or not everything with `strict`.
        KeyboardInterrupt: interrupted.
    """
    return running.prove_suite(suite, options or RunOptions(), observer=observer or Observer(), seams=seams)


def _write_cards(run: Run, folder: Path) -> None:
    """Write the card of every model that the run has saved, with the digest of its report."""
    from harness.output.builders.model_card import FRONT_MATTER, model_card  # noqa: PLC0415 - as below
    from harness.output.formats.known_formats import render  # noqa: PLC0415

    report_sha256 = file_sha256(run.directory / "report.json")
    for result in run.brief.results:
        place = folder / result.trial.id
        if result.status == "completed" and (saved := saved_model(place, result)) is not None:
            card = model_card(run.brief, result, saved, report_sha256)
            write_atomic(place / CARD, (FRONT_MATTER + render(card, "markdown")).encode())


def render_files(report: Report) -> tuple[str, str | None]:
    """Return the report as Markdown and as HTML, which a run writes next to its report.json."""
    # The half of all imports of a run, which its first trial need not wait for.
    from harness.output.builders.report import report_document  # noqa: PLC0415
    from harness.output.formats.known_formats import render  # noqa: PLC0415

    document = report_document(report)
    return render(document, "markdown"), render(document, "html")
