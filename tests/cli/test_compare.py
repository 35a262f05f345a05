from __future__ import annotations

import csv
import html
import io
import json
import os
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from harness.analysis.comparison.models import Comparison
from harness.assets.find_data import local_data
from harness.data.splits import read_corpus
from harness.model.environment import Device
from harness.model.results import Report
from harness.model.values import PaddingStrategy
from harness.store.noise_file import write_noise
from harness.store.writing import to_json
from tests.factories import make_data, make_environment, make_noise, make_report, make_result, make_trial
from tests.running.fakes import forked

Write = Callable[..., Path]


PADDINGS: tuple[PaddingStrategy, ...] = ("static", "dynamic")


def _report(run: str, accuracy: float = 0.85, speed: float = 25.0, **changes: Any) -> Report:
    made = [
        make_result(make_trial(padding, seed), accuracy=accuracy, samples_per_second=speed + index, **changes)
        for seed in range(3)
        for index, padding in enumerate(PADDINGS)
    ]
    return make_report(made, run=run)


@pytest.fixture
def write(tmp_path: Path) -> Write:
    def write(name: str, report: Report | bytes | None = None) -> Path:
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        content = _report(name) if report is None else report
        path.write_bytes(content if isinstance(content, bytes) else to_json(content))
        return path

    return write


def _harness(*arguments: str | Path, cwd: Path | None = None) -> subprocess.CompletedProcess[str]:
    return forked("compare", *arguments, cwd=cwd, environment=os.environ)


def test_two_reports_are_compared_and_standard_output_carries_the_table_alone(write: Write) -> None:
    done = _harness(write("old.json"), write("new.json", _report("new", speed=50.0)))
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith("new against old\n")
    shown = " ".join(done.stdout.split())
    assert "to decide static, new, train_real_tokens_per_second" in shown
    assert "harness ab BASE CANDIDATE" in shown


def test_a_selection_compares_the_same_variants_of_every_report_and_is_told(write: Write) -> None:
    more = (*_report("new").results, make_result(make_trial("unpadded")))
    sides = (write("old.json"), write("new.json", make_report(more, run="new")))
    found = json.loads(_harness(*sides, "-k", "static or unpadded", "--json").stdout)
    assert {row["variant"] for row in found["rows"]} == {"static", "unpadded"}
    assert found["notes"][0] == "-k 'static or unpadded': 2 of 3 variants"
    refused = _harness(*sides, "-k", "statik")
    assert (refused.returncode, refused.stdout) == (2, "")
    assert "Did you mean static?" in refused.stderr


def test_the_speed_of_separate_runs_is_decided_once_the_machine_is_calibrated_over_several_states(
    write: Write, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HARNESS_CACHE_DIR", str(tmp_path / "cache"))
    sides = (write("old.json"), write("new.json", _report("new", speed=50.0)))
    speed = ("--metric", "train_real_tokens_per_second", "--format", "csv")
    for states, verdict in ((1, "unsure"), (4, "better")):
        noise = make_noise(*((25.0 + 0.1 * place, 25.2) for place in range(states)))
        write_noise(tmp_path / "cache" / "noise", noise)
        rows = list(csv.DictReader(io.StringIO(_harness(*sides, *speed).stdout)))
        assert {row["verdict"] for row in rows} == {verdict}


def test_variants_are_compared_along_an_axis_against_the_chosen_one(write: Write) -> None:
    done = _harness(write("a.json"), "--by", "padding", "--baseline", "dynamic")
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith("padding: static against dynamic\n")


def test_a_baseline_is_a_report_by_name_or_path_or_a_kept_one(write: Write, tmp_path: Path) -> None:
    one, two = write("one.json"), write("runs/two/report.json")
    for baseline in ("two", two):
        assert _harness(one, two, "--baseline", baseline).stdout.startswith("one against two\n")
    other = write("other.json")
    assert _harness(one, two, "--baseline", other).stdout.startswith("one, two against other\n")
    write("reports/baselines/main.json")
    assert _harness(one, "--baseline", "main", cwd=tmp_path).stdout.startswith("one against main\n")


def test_a_baseline_that_is_not_there_ends_with_3_and_says_how_to_keep_one(write: Write) -> None:
    done = _harness(write("one.json"), "--baseline", "main")
    assert (done.returncode, done.stdout) == (3, "")
    assert "harness baseline set REPORT main" in done.stderr


@pytest.mark.parametrize("arguments", [(), ("--by", "padding")])
def test_a_baseline_without_a_trial_ends_with_3(write: Write, arguments: tuple[str, ...]) -> None:
    empty = write("empty.json", make_report([]))
    reports = [empty] if arguments else [empty, write("one.json")]
    done = _harness(*reports, *arguments)
    assert (done.returncode, done.stdout) == (3, "")


def test_reports_without_a_common_variant_end_with_3(write: Write) -> None:
    other = make_report([make_result(make_trial("unpadded", checkpoint="another"))])
    done = _harness(write("one.json"), write("two.json", other))
    assert (done.returncode, done.stdout) == (3, "")
    assert "no variant is in both: checkpoint is tiny-uncased in one.json and another in " in done.stderr
    assert "To compare values of checkpoint, give them to one suite" in done.stderr


def test_a_margin_given_twice_is_refused(write: Write) -> None:
    twice = ("--margin", "eval_f1=0.5", "--margin", "eval_f1=0.1")
    done = _harness(write("one.json"), write("two.json"), *twice)
    assert done.returncode == 2
    assert "--margin eval_f1=0.1: eval_f1 has a margin already" in done.stderr


def test_each_mismatch_is_listed_and_can_be_allowed_by_name(write: Write) -> None:
    one, two = write("one.json"), write("two.json", _report("two", metric_version="glue/mrpc 9"))
    done = _harness(one, two, "--metric", "eval_accuracy")
    assert (done.returncode, done.stdout) == (3, "")
    assert "glue/mrpc 1 against glue/mrpc 9" in done.stderr
    assert "--allow-mismatch metric_version" in done.stderr
    done = _harness(one, two, "--metric", "eval_accuracy", "--allow-mismatch", "metric_version")
    assert done.returncode == 0
    assert "allowed to differ: metric_version" in done.stdout
    assert "glue/mrpc 1 against glue/mrpc 9: allowed" in done.stdout


def test_speed_across_devices_is_a_ratio_and_a_verdict_only_if_asked(write: Write) -> None:
    gpu = make_environment(device=Device(kind="cuda", index=0, name="A100"), threads=2)
    one, two = write("cpu.json"), write("gpu.json", _report("gpu", speed=500.0, environment=gpu))
    words = {}
    for flag in ((), ("--speed-across-devices",)):
        done = _harness(one, two, *flag, "--format", "csv")
        rows = [row for row in csv.DictReader(io.StringIO(done.stdout)) if "tokens" in row["metric"]]
        assert {row["across_devices"] for row in rows} == {"yes"}
        assert all(float(row["effect"]) > 5 for row in rows)
        words[flag] = {row["verdict"] for row in rows}
    assert words == {(): {"not comparable"}, ("--speed-across-devices",): {"unsure"}}


def test_json_is_valid_and_holds_the_explanation(write: Write) -> None:
    done = _harness(write("a.json"), write("b.json", _report("b", 0.7)), "--format", "json", "--explain")
    compared = Comparison.model_validate_json(done.stdout)
    assert compared.explanation is not None
    assert json.loads(done.stdout)["baseline"] == "a"


def test_an_output_file_gets_the_format_of_its_ending(write: Write, tmp_path: Path) -> None:
    one, two = write("a.json"), write("b.json")
    done = _harness(one, two, "--output", tmp_path / "c.md")
    assert (done.returncode, done.stdout) == (0, "")
    assert (tmp_path / "c.md").read_text().startswith("# b against a\n")
    assert _harness(one, two, "--output", tmp_path / "c.xml").returncode == 0
    assert (tmp_path / "c.xml").read_text().startswith("<?xml")
    assert _harness(one, two, "--output", tmp_path / "c.html").returncode == 0
    assert "<h1>b against a</h1>" in (tmp_path / "c.html").read_text()
    assert _harness(one, two, "--output", tmp_path / "c.what").returncode == 2


def test_a_format_that_cannot_carry_a_comparison_is_refused_and_those_that_can_are_named(
    write: Write,
) -> None:
    done = _harness(write("a.json"), write("b.json"), "--format", "pytest-benchmark")
    assert (done.returncode, done.stdout) == (2, "")
    assert "a comparison cannot be written as pytest-benchmark; use one of table, markdown," in done.stderr


def test_an_error_is_json_where_json_was_asked_for(write: Write, tmp_path: Path) -> None:
    one, bad = write("a.json"), write("bad.json", b"{")
    done = _harness(one, bad, "--format", "json")
    assert (done.returncode, json.loads(done.stdout)["exit_code"]) == (2, 2)
    out = tmp_path / "c.json"
    assert _harness(one, bad, "-o", out).returncode == 2
    assert "bad.json" in json.loads(out.read_text())["error"]


@pytest.mark.parametrize(
    ("margin", "shown"),
    [("2%", "±2 points"), ("0.03", "±3 points"), ("eval_f1=0.03", "accuracy ±2 points, F1 ±3 points")],
)
def test_a_margin_is_a_share_or_a_percentage(write: Write, margin: str, shown: str) -> None:
    assert shown in _harness(write("a.json"), write("b.json"), "--margin", margin).stdout


@pytest.mark.parametrize(
    "arguments",
    [
        ("--margin", "-0.1"),
        ("--margin", "1.5"),
        # As wide as the range: every two scores would be the same.
        ("--margin", "1"),
        ("--margin", "100%"),
        ("--margin", "eval_mcc=2"),
        ("--margin", "nan"),
        ("--margin", "two"),
        ("--margin", "0.02", "--margin", "0.03"),
        ("--margin", "eval_loss=0.1"),
        ("--metric", "accuracy"),
        ("--allow-mismatch", "everything"),
        ("--by", "padding"),
        ("--format", "xml"),
    ],
)
def test_a_term_that_is_wrong_ends_with_2(write: Write, arguments: tuple[str, ...]) -> None:
    done = _harness(write("a.json"), write("b.json"), *arguments)
    assert (done.returncode, done.stdout) == (2, "")
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("damage", [b"", b"{", b"[]", b'{"schema_version": 99}', b'{"a": NaN}'])
def test_a_damaged_report_ends_with_2_on_either_side(write: Write, damage: bytes) -> None:
    good, bad = write("good.json"), write("bad.json", damage)
    for pair in ((good, bad), (bad, good)):
        done = _harness(*pair)
        assert (done.returncode, done.stdout) == (2, "")
        assert "bad.json" in done.stderr


def test_help_and_the_package_import_no_numpy() -> None:
    code = (
        "import sys, harness, harness.cli\n"
        "try: harness.cli.main(['--help'])\n"
        "except SystemExit: pass\n"
        "assert 'compare' in harness.cli.COMMANDS\n"
        "sys.exit(any(name in sys.modules for name in ('numpy', 'scipy', 'pydantic')))"
    )
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, check=False).returncode == 0


def test_comparing_needs_neither_torch_nor_scipy_stats() -> None:
    code = (
        "import sys, harness\n"
        "harness.compare\n"
        "sys.exit(any(name in sys.modules for name in ('torch', 'scipy.stats', 'pandas')))"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def _on_embedded_data(run: str, accuracy: float, **data: Any) -> Report:
    """A report on the embedded corpus, whose texts every machine has."""
    task = make_trial().task
    found = local_data(task, "embedded")
    assert found is not None
    corpus = read_corpus(task, found)
    examples = len(corpus.evaluation)
    used = make_data(
        **({"synthetic": True, "content_sha256": corpus.content_sha256, "eval_examples": examples} | data)
    )
    return make_report(
        [make_result(make_trial("static"), accuracy=accuracy, examples=examples, data=used)], run=run
    )


def test_a_page_has_what_differs_and_the_texts_of_flipped_examples_if_asked(
    write: Write, tmp_path: Path
) -> None:
    pytest.importorskip("pyarrow")
    old, new = (_on_embedded_data(name, accuracy) for name, accuracy in (("old", 0.9), ("new", 0.5)))
    paths = write("old.json", old), write("new.json", new)
    page = tmp_path / "page.html"
    done = _harness(*paths, "--texts", "-o", page)
    assert done.returncode == 0, done.stderr
    shown = page.read_text(encoding="utf-8")
    found = local_data(make_trial().task, "embedded")
    assert found is not None
    texts = read_corpus(make_trial().task, found).evaluation.texts
    first = int(re.search(r"<th>(\d+)<td>tiny-uncased static", shown)[1])  # type: ignore[index]
    assert all(html.escape(text) in shown for text in texts[first])
    plain = _harness(*paths, "-o", page)
    assert plain.returncode == 0
    assert "<h2>Flipped examples</h2>" in page.read_text(encoding="utf-8")
    assert html.escape(texts[first][0]) not in page.read_text(encoding="utf-8")


def test_texts_of_another_data_set_are_not_shown_and_the_reason_is(write: Write) -> None:
    pytest.importorskip("pyarrow")
    sides = [
        _on_embedded_data(name, rate, content_sha256="ef" * 32) for name, rate in (("a", 0.9), ("b", 0.5))
    ]
    done = _harness(write("a.json", sides[0]), write("b.json", sides[1]), "--texts")
    assert done.returncode == 0
    assert "no texts: glue/mrpc of these reports was not found on this machine" in done.stderr
    assert "Flipped examples" in done.stdout
