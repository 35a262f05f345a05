"""A report of trials that only tokenise, as every format shows it: nothing about training stands in it."""

from __future__ import annotations

import csv
import io
import json
import re
from typing import Any

import pytest

from harness.analysis.comparison.comparing import compare
from harness.analysis.gates.applying import check
from harness.analysis.summary import summarize
from harness.model.measurements import measured, unmeasured
from harness.model.results import Report, TrialResult
from harness.model.suite import Gate
from harness.model.values import Tokenization, Tokenizer
from harness.output.builders.proof_tables import summary
from harness.output.progress import describe_result
from tests.factories import make_data, make_report, make_result, make_suite, make_trial
from tests.output.written import to_table, written

MIB = 2**20
WHOLE = Tokenization(method="whole")
BATCHED = Tokenization(method="map_batched", num_proc=2)


def tokenized(
    way: Tokenization, tokenizer: Tokenizer, seed: int, *seconds: float, **changes: Any
) -> TrialResult:
    trial = make_trial(seed=seed, checkpoint="minilm", tokenization=way, tokenizer=tokenizer)
    if "status" in changes:
        return make_result(trial, phase="tokenize", **changes)
    numbers = {
        "tokenize_seconds": seconds,
        "tokenize_examples_per_second": [4_076 / one for one in seconds],
        "tokenize_tokens_per_second": [217_000 / one for one in seconds],
        "tokenize_memory_bytes": [(10 + seed) * MIB],
    }
    nothing_trained: dict[str, Any] = {"epochs": (), "metric_version": None, "predictions": None}
    measurements = tuple(measured(metric, *values) for metric, values in numbers.items())
    data = make_data(train_examples=3_668, eval_examples=408)
    return make_result(trial, **nothing_trained, measurements=measurements, data=data, duration_s=2.5)


def report_of(**changes: Any) -> Report:
    cut = {"status": "failed", "reason": "2,165 of 4,076 examples have other token ids than in training"}
    results = [
        tokenized(WHOLE, "fast", 0, 0.6, 0.5, 0.7),
        tokenized(WHOLE, "slow", 0, 2.4),
        tokenized(BATCHED, "fast", 0, 0.9, 0.8, 0.7),
        tokenized(WHOLE, "fast", 1, 0.4, 0.5, 0.3),
        tokenized(WHOLE, "slow", 1, **cut),
        tokenized(BATCHED, "fast", 1, 0.6, 0.6, 0.6),
    ]
    return make_report(results, suite=make_suite(name="tokenization"), **changes)


TABLE = """\
tokenization: 3 variants, 6 trials of glue/mrpc
common settings: minilm, no training
Test CPU, 2 cores; torch 2.13.0; transformers 5.23.0
the same token ids: every trial that completed gave each example those that training takes

                              tokenize                  real     added
variant                           time  examples/s  tokens/s    memory  status                 remarks
───────────────────────────────────────────────────────────────────────────────────────────────────────────
whole fast                      500 ms       8.15k      434k  11.0 MiB  2 completed            tied fastest
whole slow                       2.4 s       1.70k     90.4k  10.0 MiB  1 completed, 1 failed
map_batched(num_proc=2) fast    700 ms       5.82k      310k  11.0 MiB  2 completed            tied fastest

- tied fastest: the trials do not tell these variants apart (paired t tests at 5 %, Holm)
- whole slow, seed 1: failed in tokenize: 2,165 of 4,076 examples have other token ids than in training
- time and rates are medians over passes and seeds; both splits are tokenised
- added memory: the most any first pass needed beyond the memory in use, its processes together
"""


def test_a_table_shows_time_rates_and_memory_and_nothing_of_training() -> None:
    assert to_table(report_of()) == TABLE


def test_markdown_has_the_same_columns() -> None:
    lines = written(report_of(), "markdown").splitlines()
    assert (
        "| variant | tokenize time | examples/s | real tokens/s | added memory | status | remarks |" in lines
    )
    assert "| whole fast | 500 ms | 8.15k | 434k | 11.0 MiB | 2 completed | tied fastest |" in lines
    assert (
        "- the same token ids: every trial that completed gave each example those that training takes"
        in lines
    )
    assert not any("accuracy" in line for line in lines)


def test_a_page_has_the_table_and_bars_of_speed() -> None:
    page = written(report_of(), "html")
    for text in ("added memory", "<td>11.0 MiB<", ">434k</text>"):
        assert text in page
    assert len(re.findall(r"M[\d.]+ [\d.]+H[\d.]+V[\d.]+H", page)) == 3
    assert "accuracy" not in page


def test_what_could_not_be_measured_is_a_dash() -> None:
    trial = tokenized(WHOLE, "fast", 0, 0.5)
    kept = [found for found in trial.measurements if found.metric != "tokenize_memory_bytes"]
    missing = unmeasured("tokenize_memory_bytes", "only Linux tells what processes share")
    report = make_report([trial.model_copy(update={"measurements": (*kept, missing)})])
    (row,) = summarize(report)
    assert row.tokenizing is not None
    assert row.tokenizing.added_memory_bytes is None
    table = to_table(report)
    assert " – " in table.splitlines()[8]  # noqa: RUF001 - the sign that people see
    assert "- added memory not measured: only Linux tells what processes share" in table


def test_a_line_of_csv_has_the_way_and_its_numbers() -> None:
    first, *_ = csv.DictReader(io.StringIO(written(report_of(), "csv")))
    assert (first["tokenization"], first["tokenizer"]) == ("whole", "fast")
    assert float(first["tokenize_seconds"]) == 0.6
    assert float(first["tokenize_memory_bytes"]) == 10 * MIB
    assert first["eval_accuracy"] == ""


def test_pytest_benchmark_gets_the_passes() -> None:
    benchmarks = json.loads(written(report_of(), "pytest-benchmark"))["benchmarks"]
    assert [found["fullname"] for found in benchmarks] == [
        "tokenize_seconds::tokenization/whole fast",
        "tokenize_seconds::tokenization/whole slow",
        "tokenize_seconds::tokenization/map_batched(num_proc=2) fast",
    ]
    assert benchmarks[0]["stats"]["data"] == [0.6, 0.5, 0.7, 0.4, 0.5, 0.3]
    assert benchmarks[0]["extra_info"]["tokenize_tokens_per_second"] == pytest.approx(217_000 / 0.5)


def test_every_format_draws_it() -> None:
    for name in ("json", "junit", "github", "bmf"):
        assert written(report_of(), name)


def test_a_finished_trial_is_told_with_its_rate() -> None:
    assert describe_result(report_of().results[0]) == "362k tokens/s, 2.5 s"


def test_reports_that_only_tokenise_are_compared_by_rate_and_memory() -> None:
    found = compare([report_of()], by="tokenization", baseline="whole")
    assert {(row.metric, row.variant) for row in found.rows if row.effect is not None} == {
        ("tokenize_examples_per_second", "fast"),
        ("tokenize_memory_bytes", "fast"),
    }
    both = compare([report_of(run="a"), report_of(run="b")])
    assert {row.metric for row in both.rows} == {"tokenize_examples_per_second", "tokenize_memory_bytes"}


def test_there_is_nothing_to_prove_of_them() -> None:
    checked = check(report_of(), gates=[Gate(metric="tokenize_examples_per_second", min=100)])
    assert not any("parity" in note for note in checked.notes)
    assert summary(()) == "nothing to prove"
