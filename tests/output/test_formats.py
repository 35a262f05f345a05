from __future__ import annotations

import base64
import csv
import hashlib
import io
import json
import math
import re
import subprocess
import sys
from dataclasses import replace
from html.parser import HTMLParser
from itertools import cycle, islice
from pathlib import Path, PurePath
from xml.etree import ElementTree as ET

import pytest
from markdown_it import MarkdownIt

from harness.analysis.summary import summarize
from harness.errors import InvalidInputError
from harness.model.arguments import Train
from harness.model.metrics import METRICS
from harness.model.observations import Apart
from harness.model.proof import Parity
from harness.model.results import Report
from harness.model.values import PaddingStrategy
from harness.output.builders.report import epochs, report_document
from harness.output.document import Case, Document, Table
from harness.output.formats.github import to_annotations
from harness.output.formats.junit import to_junit
from harness.output.formats.known_formats import ENDINGS, FORMATS, format_of, render
from harness.output.plot.svg import to_svg
from harness.output.trackers.runs import tracked_runs
from tests.factories import make_checkpoint, make_report, make_result, make_trial
from tests.output.pages import comparison_page, quickstart_report
from tests.output.written import written


def _mixed() -> Report:
    return make_report(
        [
            make_result(make_trial("static"), samples_per_second=10.0),
            make_result(make_trial("dynamic"), samples_per_second=25.0),
            make_result(make_trial("dynamic", 1), samples_per_second=26.0, accuracy=0.6, degenerate=True),
            make_result(make_trial("unpadded"), status="failed", reason="no safetensors", log_tail="a\nb"),
        ],
        notes=("read from a folder",),
    )


@pytest.mark.parametrize("name", FORMATS)
def test_every_format_writes_every_kind_of_report(name: str) -> None:
    for report in (_mixed(), make_report(), make_report([]), make_report([make_result(status="pending")])):
        assert isinstance(written(report, name), str)


def test_a_files_ending_chooses_its_format() -> None:
    assert [format_of(PurePath(f"x{ending}")) for ending in ENDINGS] == list(ENDINGS.values())
    assert format_of(PurePath("REPORT.HTML")) == "html"
    with pytest.raises(InvalidInputError, match=r"x\.pdf: no format") as raised:
        format_of(PurePath("x.pdf"))
    assert ".csv" in (raised.value.hint or "")


def test_pytest_benchmark_reads_its_json(tmp_path: Path) -> None:
    for name, rate in (("a", 25.0), ("b", 50.0)):
        report = make_report([make_result(make_trial(padding), samples_per_second=rate)
                              for padding in ("static", "dynamic")])  # fmt: skip
        (tmp_path / f"{name}.json").write_text(written(report, "pytest-benchmark"), encoding="utf-8")
    command = [sys.executable, "-m", "pytest_benchmark", "compare", "a.json", "b.json", "--csv=out.csv"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    assert "4 tests" in done.stdout
    rows = list(csv.DictReader(io.StringIO((tmp_path / "out.csv").read_text())))
    means = sorted(float(row["mean"]) for row in rows)
    assert means == pytest.approx([8 / 50, 8 / 50, 8 / 25, 8 / 25], rel=0.05)
    assert {row["name"].split(" ")[0] for row in rows} == {
        "train_step_seconds::padding/static",
        "train_step_seconds::padding/dynamic",
    }


def test_the_statistics_for_pytest_benchmark_are_its_own() -> None:
    stats_module = pytest.importorskip("pytest_benchmark.stats")
    document = json.loads(written(make_report([make_result()]), "pytest-benchmark"))
    ours = document["benchmarks"][0]["stats"]
    theirs = stats_module.Stats()
    for second in ours["data"]:
        theirs.update(second)
    for field in ("min", "max", "mean", "stddev", "rounds", "median", "ops", "total", "stddev_outliers"):
        assert ours[field] == pytest.approx(getattr(theirs, field)), field


def test_bencher_gets_each_measure_with_its_bounds() -> None:
    document = json.loads(written(_mixed(), "bmf"))
    assert list(document) == ["padding/static", "padding/dynamic"]
    speed = document["padding/dynamic"]["train_samples_per_second"]
    assert speed["lower_value"] < speed["value"] < speed["upper_value"]
    accuracy = document["padding/dynamic"]["eval_accuracy"]
    assert accuracy["lower_value"] == accuracy["value"] == accuracy["upper_value"]
    for measures in document.values():
        for measure, numbers in measures.items():
            assert measure in METRICS
            assert len(measure) <= 64
            assert set(numbers) == {"value", "lower_value", "upper_value"}
            assert all(math.isfinite(number) for number in numbers.values())


def test_a_stand_in_has_a_line_of_its_own_in_a_tracker() -> None:
    stand_in = make_result(checkpoint=make_checkpoint(stand_in=True))
    assert list(json.loads(written(make_report([stand_in]), "bmf"))) == [
        "padding/tiny-uncased dynamic (stand-in)"
    ]


def test_csv_has_a_line_a_trial_with_raw_numbers() -> None:
    report = _mixed()
    records = list(csv.DictReader(io.StringIO(written(report, "csv"), newline="")))
    assert [record["padding"] for record in records] == ["static", "dynamic", "dynamic", "unpadded"]
    assert [record["degenerate"] for record in records] == ["no", "no", "yes", "no"]
    assert float(records[0]["eval_accuracy"]) == report.results[0].value("eval_accuracy")
    assert records[3]["eval_accuracy"] == ""
    assert records[3]["reason"] == "no safetensors"
    assert set(METRICS) <= set(records[0])


def _apart() -> Report:
    """Scores of one training on two variants, of which one was timed while another trial ran."""
    window = Apart(steps=4, jobs=2, threads=1)
    trained = make_result(make_trial("dynamic"), apart=window, concurrent=2)
    shares = window.model_copy(update={"trained": trained.trial.id})
    return make_report([make_result(make_trial("static"), apart=shares), trained])


def test_every_table_for_programs_tells_shared_scores_windows_and_times_that_do_not_count() -> None:
    report = _apart()
    shared, trained = csv.DictReader(io.StringIO(written(report, "csv"), newline=""))
    assert (shared["trained"], shared["window_steps"], shared["concurrent"]) == (trained["trial"], "4", "1")
    assert (trained["trained"], trained["window_steps"], trained["concurrent"]) == ("", "4", "2")
    assert (shared["parity"], shared["training"]) == ("unproven", "unproven")
    assert list(json.loads(written(report, "bmf"))) == [
        "padding/static (window)",
        "padding/dynamic (window, 2 at once)",
    ]
    found = json.loads(written(report, "pytest-benchmark"))["benchmarks"]
    extra = {one["name"]: one["extra_info"] for one in found}
    of_shared = extra["padding/static (window)"]
    assert (of_shared["trained"], of_shared["window_steps"], of_shared["concurrent"]) == (["dynamic"], 4, 1)
    shared_run, trained_run = tracked_runs(report)
    assert shared_run.tags["harness.trained"] == trained.pop("trial")
    assert (trained_run.tags["harness.window_steps"], trained_run.tags["harness.concurrent"]) == ("4", "2")


def test_a_proof_that_differs_is_a_failure_in_every_format_with_cases() -> None:
    parity = Parity(
        examples=64, largest_logit_difference=1.0, relative_gradient_error=0.0, flipped_predictions=0
    )
    proof = make_result(make_trial("static"), parity=parity)
    unproved = make_result(make_trial("dynamic"), status="failed")
    report = _mixed().model_copy(update={"proofs": (proof, unproved)})
    suite = ET.fromstring(written(report, "junit"))[0]
    found = {case.attrib["name"]: [child.tag for child in case] for case in suite.iter("testcase")}
    assert found["parity of static"] == ["failure"]
    assert found["parity of dynamic"] == ["skipped"]
    assert "::error title=parity of static::differs" in written(report, "github")
    (first, *_) = csv.DictReader(io.StringIO(written(report, "csv"), newline=""))
    assert (first["padding"], first["parity"]) == ("static", "differs")
    assert "padding/static (fails parity)" in json.loads(written(report, "bmf"))


def test_markdown_is_one_document_with_all_its_parts() -> None:
    shown = written(_mixed(), "markdown")
    headings = re.findall(r"^#+ .*", shown, re.MULTILINE)
    assert headings == [
        "# padding: 3 variants, 4 trials of glue/mrpc",
        "## F1 against speed",
        "## Where the time goes: real tokens and padding",
        "## Step time",
        "## Where the time of a trial goes",
        "## Only what differs",
        "## Failed trials",
        "## Epochs",
        "## Accuracy by label and length",
        "## Environment",
        "## Run it again",
    ]
    assert re.search(r"^\| dynamic \| \d\d\.\d % \|", shown, re.MULTILINE)
    assert "- unpadded, seed 0: failed in train: no safetensors" in shown
    kinds = [token.type for token in MarkdownIt("gfm-like", {"linkify": False}).parse(shown)]
    assert kinds.count("table_open") == 8
    assert "unpadded, seed 0: failed in train: no safetensors: b" in shown


def test_the_epochs_leave_out_degenerate_trials() -> None:
    report = _mixed()
    shown = {column.title: column.cells for column in epochs(report, summarize(report))}
    assert shown["variant"] == ("static", "dynamic")
    assert shown["seeds"] == ("1", "1")


def test_the_page_stands_alone_and_can_be_read_by_everyone() -> None:
    shown = written(_mixed(), "html")
    assert shown.startswith("<!DOCTYPE html>\n<html lang=en>")
    assert "<script" not in shown
    assert not re.search(r"(src|href|url\()\s*=?\s*[\"']?(https?:)?//", shown)
    assert "prefers-color-scheme:dark" in shown
    assert shown.count("<caption>") == shown.count("<table ")
    pictures = re.findall(r"<svg.*?</svg>", shown, re.DOTALL)
    assert len(pictures) == shown.count("<figure>") == shown.count("<summary>Numbers</summary>") == 5


def test_only_the_style_of_the_page_may_act() -> None:
    shown = written(_mixed(), "html")
    style = re.findall(r"<style>(.*?)</style>", shown, re.DOTALL)
    digest = base64.b64encode(hashlib.sha256(style[0].encode()).digest()).decode()
    assert len(style) == 1
    assert f"default-src 'none'; style-src 'sha256-{digest}'; base-uri 'none'; form-action 'none'\"" in shown
    assert " style=" not in shown


def test_a_page_ranks_variants_by_speed_and_tells_what_was_tested() -> None:
    fast = [make_result(make_trial("unpadded", seed), samples_per_second=50.0 + seed) for seed in range(3)]
    shown = written(make_report([*make_report().results, *fast]), "html")
    cells = re.findall(r"<tr><td>(\S+)<th>(\w+)", shown)
    assert cells == [("1", "unpadded"), ("(2)", "static"), ("(3)", "dynamic")]
    assert "unpadded is the fastest of 3 variants; 2.0" in shown
    assert re.search(r"2\.0\d x \[1\.\d\d, 2\.\d\d\] the speed of static, F1 ", shown)


def test_variants_that_the_trials_do_not_separate_share_a_place() -> None:
    speeds: dict[PaddingStrategy, float] = {"static": 25.0, "dynamic": 25.1}
    results = [
        make_result(make_trial(padding, seed), samples_per_second=speed)
        for seed in range(3)
        for padding, speed in speeds.items()
    ]
    shown = written(make_report(results), "html")
    assert re.findall(r"<tr><td>(\S+)<th", shown) == ["[1-2]", "[1-2]"]
    assert re.search(
        "the trials do not separate (static and dynamic|dynamic and static), the fastest of 2", shown
    )


def test_a_page_has_the_last_lines_of_a_failed_trial_and_what_to_doubt() -> None:
    log = "".join(f"line {at}\n" for at in range(40)) + "<b>boom</b>\n"
    failed = make_result(make_trial("static"), status="failed", reason="boom", log_tail=log)
    stand_in = make_result(make_trial("dynamic"), checkpoint=make_checkpoint(stand_in=True))
    shown = written(make_report([failed, stand_in]), "html")
    assert "(29 earlier lines)\nline 29\n" in shown
    assert "line 39\n&lt;b&gt;boom&lt;/b&gt;</pre>" in shown
    assert "<li>did not complete: 1 failed<li>with stand-in weights: 1 variant" in shown


def test_a_page_shows_only_what_differs_and_does_not_follow_from_an_axis() -> None:
    made = [make_result(make_trial(padding)) for padding in ("static", "dynamic")]
    shown = written(make_report(made), "html")
    part = shown.split("<h2>Only what differs</h2>")[1].split("</table>")[0]
    assert re.findall(r"<th[^>]*>(\w+)", part.partition("</thead>")[0]) == ["variant", "padding"]
    assert re.search(r"not shown: \d\d conditions that are equal or follow from an axis", shown)


def test_a_page_of_many_trials_stays_small_and_says_what_it_leaves_out() -> None:
    run = quickstart_report()
    results = [
        result.model_copy(
            update={
                "trial": result.trial.model_copy(
                    update={"seed": seed, "train": Train(learning_rate=(place + 1) * 1e-6)}
                )
            }
        )
        for seed in range(5)
        for place, result in enumerate(islice(cycle(run.results), 200))
    ]
    shown = written(run.model_copy(update={"results": tuple(results)}), "html")
    assert len(shown.encode()) < 200_000
    assert shown.count("the 24 fastest variants of 200; the table has all") >= 3
    assert "the first 100 of 200 rows; `--format markdown` has all" in shown
    assert len(re.findall(r"<tr><td>(?:[(\[]|1<)", shown)) == 200


def test_the_page_of_a_quickstart_is_below_60_kb() -> None:
    assert len(written(quickstart_report(), "html").encode()) < 60_000


class Tags(HTMLParser):
    """The elements of a text with their attributes, in order."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.found: list[tuple[str, list[tuple[str, str | None]]]] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.append((tag, attrs))


def test_a_picture_in_a_page_has_the_attributes_of_the_drawing_without_their_quotes() -> None:
    for document in (comparison_page(), report_document(quickstart_report())):
        pictures = re.findall(r"<svg.*?</svg>", render(document, "html"), re.DOTALL)
        drawn = sorted(document.charts, key=lambda chart: not chart.lead)
        assert [Tags(each).found for each in pictures] == [Tags(to_svg(chart)).found for chart in drawn]


def test_equal_reports_give_equal_pages() -> None:
    again = Report.model_validate_json(_mixed().model_dump_json())
    assert written(again, "html") == written(_mixed(), "html")


CASES = (
    Case("f1 is 0.86 or more", "gates", "passed", seconds=0.5),
    Case("accuracy dropped", "gates", "failed", "by 3 points", "seed 0\nseed 1", 1.0),
    Case("speed", "gates", "error", "no baseline"),
    Case("mcc", "gates", "skipped", "50% done"),
)


def of_cases(*cases: Case, name: str = "x") -> Document:
    return Document(kind="check", title="x", model={}, name=name, cases=cases)


def test_junit_has_one_case_each_and_counts_them() -> None:
    suite = ET.fromstring(to_junit(of_cases(*CASES, name="gates")))[0]
    assert suite.attrib == {
        "name": "gates",
        "time": "1.500",
        "tests": "4",
        "failures": "1",
        "errors": "1",
        "skipped": "1",
    }
    assert [[child.tag for child in case] for case in suite] == [[], ["failure"], ["error"], ["skipped"]]
    assert suite[1][0].attrib == {"message": "by 3 points"}
    assert suite[1][0].text == "seed 0\nseed 1"


def test_junit_keeps_the_end_of_a_long_log() -> None:
    case = Case("x", "x", "failed", details="\n".join(f"line {at}" for at in range(2_000)))
    text = ET.fromstring(to_junit(of_cases(case)))[0][0][0].text or ""
    assert text.startswith("(1,500 earlier lines are left out)\nline 1500\n")
    assert text.endswith("line 1999")


def test_annotations_are_errors_then_warnings() -> None:
    assert to_annotations(of_cases(*CASES)) == (
        "::error title=accuracy dropped::by 3 points\n"
        "::error title=speed::no baseline\n"
        "::warning title=mcc::50%25 done\n"
    )


def test_annotations_stay_inside_the_limit_and_say_how_many_more() -> None:
    lines = to_annotations(
        of_cases(*(Case(f"gate {at}", "gates", "failed", "m") for at in range(25)))
    ).splitlines()
    assert len(lines) == 10
    assert lines[-1] == "::error title=harness::16 more are in the report"


def test_a_reports_trials_are_cases() -> None:
    suite = ET.fromstring(written(_mixed(), "junit"))[0]
    cases = suite.findall("testcase")
    assert [[child.tag for child in case] for case in cases] == [[], [], ["failure"], ["error"]]
    assert suite[3][0].attrib == {"message": "failed in train: no safetensors"}


def test_a_comment_is_the_answer_and_the_main_table_behind_a_marker_to_find_it_again() -> None:
    shown = render(comparison_page(), "comment")
    assert shown.startswith("<!-- harness comparison: new against old -->\n\n# new against old\n")
    assert "8 worse" in shown
    assert "| variant | metric | verdict |" in shown
    assert "## What differs" in shown
    assert "## Flipped examples" not in shown
    other = render(replace(comparison_page(), title="another run"), "comment")
    assert other.partition("\n")[0] == shown.partition("\n")[0]


def test_a_comment_of_a_large_check_ends_inside_the_limit_at_a_whole_line() -> None:
    columns = tuple(
        replace(column, cells=column.cells * 2_000, tones=())
        for column in comparison_page().tables[0].columns
    )
    shown = render(replace(comparison_page(), tables=(Table("Verdicts", columns),)), "comment")
    assert 60_000 < len(shown) <= 65_536
    assert shown.endswith(
        " |\n\nThe rest is left out: a comment has at most 65,536 characters. The page has everything.\n"
    )
