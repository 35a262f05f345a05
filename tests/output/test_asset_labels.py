"""Stand-ins, generated data and limits are named wherever a number of them is shown."""

from __future__ import annotations

import csv
import io
from functools import cache
from xml.etree import ElementTree as ET

import pytest

from harness.analysis.comparison.comparing import compare
from harness.analysis.gates.applying import check
from harness.analysis.over_time.series import series_of
from harness.analysis.scored_again import Rescored
from harness.model.results import Report
from harness.model.suite import Gate
from harness.model.tasks import Task
from harness.output.builders.comparison_page import comparison_document
from harness.output.builders.gate_report import gates_document
from harness.output.builders.proof_tables import proofs_document
from harness.output.builders.recomputed_scores import rescoring_document
from harness.output.builders.series_tables import history_document
from harness.output.document import Document
from harness.output.formats.junit import to_junit
from harness.output.formats.known_formats import render
from tests.factories import make_checkpoint, make_data, make_report, make_result, make_trial

STAND_IN = (
    "stand-in: embedded/bert-uncased was used in place of bert-base-uncased; its numbers are not those of "
    "bert-base-uncased"
)
SYNTHETIC = "synthetic data: embedded/pairs, a generated corpus, was used in place of glue/mrpc"
LIMITED = "limit: only the first rows of glue/mrpc in the order of its files"


def _report(accuracy: float = 0.85) -> Report:
    checkpoint = make_checkpoint(requested="bert-base-uncased", name="embedded/bert-uncased", stand_in=True)
    data = make_data(name="embedded/pairs", source="embedded", synthetic=True)
    task = Task.model_validate({"limit": {"train": 64}})
    return make_report(
        [
            make_result(
                make_trial(padding, seed, checkpoint="bert-base-uncased", task=task),
                accuracy=accuracy,
                checkpoint=checkpoint,
                data=data,
            )
            for seed in range(3)
            for padding in ("static", "dynamic")
        ],
        run=f"20260102T030405Z-{accuracy}",
    )


@cache
def _documents() -> dict[str, Document]:
    before, after = _report(), _report(0.8)
    drop = Gate(metric="eval_accuracy", max_drop=0.02)
    bound = Gate(metric="eval_f1", min=0.1)
    return {
        "variants": comparison_document(compare([before], by="padding")),
        "reports": comparison_document(compare([before, after])),
        "drop": gates_document(check(after, baseline=before, gates=[drop])),
        "bound": gates_document(check(after, gates=[bound], allow_mismatch=["stand_in"])),
        "no gate": gates_document(check(after, gates=[])),
        "history": history_document(series_of([before, after])),
        "proofs": proofs_document(before.results[:1], ()),
        "rescoring": rescoring_document(before, [Rescored("a", {"eval_f1": (0.5, 0.5)}, ())], "1"),
    }


@pytest.mark.parametrize("name", ["table", "markdown", "html", "json", "csv"])
@pytest.mark.parametrize("result", ["variants", "reports", "drop", "bound", "no gate", "history"])
def test_every_result_names_what_stood_in_for_what(result: str, name: str) -> None:
    written = render(_documents()[result], name)
    plain = " ".join(written.replace("\\", "").split())
    for sentence in (STAND_IN, SYNTHETIC, LIMITED):
        assert sentence in plain, sentence


@pytest.mark.parametrize("result", ["variants", "reports", "drop", "bound", "no gate", "proofs", "rescoring"])
def test_so_do_the_formats_of_cases(result: str) -> None:
    document = _documents()[result]
    comment = render(document, "comment").replace("\\", "")
    output = ET.fromstring(to_junit(document))[0].findtext("system-out") or ""
    for sentence in (STAND_IN, SYNTHETIC, LIMITED):
        assert sentence in comment, sentence
        assert sentence in output, sentence


def test_a_row_names_the_assets_of_its_own_trials() -> None:
    real = make_report([make_result(make_trial(seed=seed)) for seed in range(3)])
    of_stand_ins = _report()
    both = real.model_copy(update={"results": (*real.results, *of_stand_ins.results)})
    lines = csv.DictReader(io.StringIO(render(history_document(series_of([both])), "csv"), newline=""))
    assert {line["assets"] == "" for line in lines if "tiny-uncased" in line["branch"]} == {True}


def test_an_unsure_row_of_a_comparison_is_no_passed_test() -> None:
    comparison = compare([_report(), _report(0.8)])
    unsure = [row for row in comparison.rows if row.verdict == "unsure"]
    assert unsure
    suite = ET.fromstring(to_junit(comparison_document(comparison)))[0]
    assert suite.attrib["skipped"] == str(len(unsure))
    assert {found.attrib["message"].partition(":")[0] for found in suite.iter("skipped")} == {"unsure"}
