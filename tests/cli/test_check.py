"""`harness check` from the outside: exit codes, the last line, and what is written where."""

from __future__ import annotations

import json
import os
import random
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any
from xml.etree import ElementTree as ET

import pytest

from harness.analysis.gates.cases import GateReport
from harness.cli import main
from harness.cli.writing_results import Target, judge
from harness.model.environment import Cpu
from harness.model.results import Report
from harness.output.formats.known_formats import formats_of
from harness.store.noise_file import write_noise
from harness.store.writing import to_json
from harness.suite.gate_files import parse_gate
from tests.factories import (
    make_data,
    make_environment,
    make_noise,
    make_report,
    make_result,
    make_suite,
    make_trial,
)
from tests.output.hostile import HOSTILE
from tests.store.test_reading import KINDS, MUTATIONS

Check = Callable[..., tuple[int, str, str]]

GATES = ("eval_f1>=0.8", "eval_accuracy drop<=0.02", "train_real_tokens_per_second drop<=10%")


def made(accuracy: float = 0.9, speed: float = 25.0, **changes: Any) -> Report:
    return make_report(
        [
            make_result(
                make_trial(padding, seed),
                accuracy=accuracy,
                samples_per_second=speed,
                examples=400,
                **changes,
            )
            for seed in range(3)
            for padding in ("static", "dynamic")
        ],
        suite=make_suite(gates=tuple(map(parse_gate, GATES))),
    )


@pytest.fixture(autouse=True)
def _alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HARNESS_CACHE_DIR", str(tmp_path / "cache"))
    monkeypatch.delenv("GITHUB_ACTIONS", raising=False)
    monkeypatch.delenv("GITHUB_STEP_SUMMARY", raising=False)


@pytest.fixture
def check(capfd: pytest.CaptureFixture[str]) -> Check:
    def check(*arguments: str | Path) -> tuple[int, str, str]:
        with pytest.raises(SystemExit) as ended:
            main(["check", *map(str, arguments)])
        output, errors = capfd.readouterr()
        assert isinstance(ended.value.code, int)
        return ended.value.code, output, errors

    return check


def write(name: str, report: Report | bytes) -> Path:
    path = Path(name).absolute()
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(report if isinstance(report, bytes) else to_json(report))
    return path


def test_a_report_against_itself_ends_with_0_and_its_last_line_says_pass(check: Check) -> None:
    report = write("a.json", made())
    code, output, errors = check(report, "--baseline", report)
    assert (code, errors) == (0, "")
    assert output.splitlines()[-1] == "harness check: PASS 12 gates, 0 failed, 0 unsure"


def test_a_real_drop_ends_with_1(check: Check) -> None:
    code, output, _ = check(write("b.json", made(0.8, 15.0)), "--baseline", write("a.json", made()))
    assert code == 1
    assert output.splitlines()[-1] == "harness check: FAIL 12 gates, 2 failed, 2 unsure, 2 under-powered"
    assert "allowed 2 points" in output
    assert "harness ab BASE CANDIDATE" in " ".join(output.split())


def test_nothing_comparable_ends_with_3_and_names_the_command_for_a_baseline(check: Check) -> None:
    other = make_report([make_result(make_trial(checkpoint="another"))])
    code, output, errors = check(write("a.json", made()), "--baseline", write("b.json", other))
    assert code == 3
    assert output.splitlines()[-1].startswith("harness check: FAIL nothing could be judged")
    assert "harness baseline set" in errors


@pytest.mark.parametrize("content", [None, make_report([])])
def test_a_baseline_that_is_missing_or_empty_ends_with_3(check: Check, content: Report | None) -> None:
    if content is not None:
        write("reports/baselines/main.json", content)
    code, _, errors = check(write("a.json", made()), "--baseline", "main")
    assert code == 3
    assert "harness baseline set REPORT" in errors


def test_a_baseline_is_found_by_its_name(check: Check) -> None:
    write("reports/baselines/main.json", made())
    write("elsewhere/baselines/other.json", made())
    report = write("a.json", made())
    assert check(report, "--baseline", "main")[0] == 0
    assert check(report, "--baseline", "other", "--reports", "elsewhere")[0] == 0
    assert check(report, "--baseline", "other")[0] == 3


def test_drops_without_a_baseline_do_not_pass(check: Check) -> None:
    report = write("a.json", made())
    assert check(report)[0] == 3
    assert check(report, "--no-suite-gates", "-g", "eval_f1>=0.5")[0] == 0


def test_gates_come_from_suite_file_and_command_line_together(check: Check) -> None:
    report = write("a.json", made())
    write("gates.yaml", b"- {metric: eval_loss, max: 0.0001}\n")
    code, output, _ = check(
        report, "--baseline", report, "--gates", "gates.yaml", "-g", "eval_mcc>=0.99", "--format", "json"
    )
    assert code == 1
    rules = {case.rule for case in GateReport.model_validate_json(output).cases if case.verdict == "failed"}
    assert rules == {"eval_loss <= 0.0001", "eval_mcc >= 0.99"}


def test_each_mismatch_is_listed_and_an_allowed_one_is_recorded(check: Check) -> None:
    other = write("b.json", made(data=make_data(content_sha256="ef" * 32, eval_examples=400)))
    base = write("a.json", made())
    code, _, errors = check(other, "--baseline", base)
    assert code == 3
    assert "--allow-mismatch data" in errors
    code, output, _ = check(other, "--baseline", base, "--allow-mismatch", "data")
    assert code == 0
    assert "allowed to differ: data" in output


def test_a_degenerate_trial_is_red_by_default(check: Check) -> None:
    report = write("a.json", make_report([make_result(degenerate=True)]))
    assert check(report)[0] == 1
    assert check(report, "--allow-degenerate")[0] == 0
    assert check(report, "--no-allow-degenerate")[0] == 1


def test_unsure_warns_or_fails(check: Check) -> None:
    report, base = write("b.json", made(0.9, speed=25.0)), write("a.json", made(0.9, speed=26.0))
    gate = ("--no-suite-gates", "-g", "train_real_tokens_per_second drop<=0.1%")
    code, output, _ = check(report, "--baseline", base, *gate)
    assert code == 0
    assert output.splitlines()[-1] == "harness check: UNSURE 8 gates, 0 failed, 2 unsure"
    assert check(report, "--baseline", base, *gate, "--on-unsure", "fail")[0] == 1


@pytest.mark.parametrize(("states", "code"), [(1, 0), (4, 1)])
def test_a_drop_of_speed_fails_once_the_machine_is_calibrated_over_several_states(
    check: Check, tmp_path: Path, states: int, code: int
) -> None:
    noise = make_noise(*((25.0 + 0.1 * place, 25.2) for place in range(states)))
    write_noise(tmp_path / "cache" / "noise", noise)
    slow, fast = made(speed=10.0), made(speed=25.0)
    base, report = write("a.json", fast), write("b.json", slow)
    assert check(report, "--baseline", base)[0] == code
    assert judge(slow, slow.suite.gates, fast, Target("table")) == code


def test_more_ends_with_the_number_of_seeds_that_decide(check: Check) -> None:
    rows = [(0, 0.90, 0.88), (1, 0.89, 0.90), (2, 0.91, 0.87), (3, 0.88, 0.89)]

    def scored(side: int) -> Report:
        results = [make_result(make_trial(seed=row[0]), accuracy=row[side], examples=400) for row in rows]
        return make_report(results)

    base, report = write("a.json", scored(1)), write("b.json", scored(2))
    gate = ("--no-suite-gates", "-g", "eval_accuracy drop<=0.02", "--on-unsure", "more")
    code, output, errors = check(report, "--baseline", base, *gate)
    assert code == 1
    assert re.search(r"add seeds: \d+ a side decide the gates that are unsure", errors)
    assert "detects drops of" in output
    assert "under-powered" in output.splitlines()[-1]


@pytest.mark.parametrize(
    "arguments",
    [
        ("-g", "eval_f1"),
        ("-g", "eval_accuracy drop<=-0.02"),
        ("-g", "eval_accuracy drop<=2"),
        ("-g", "eval_f1>=86%"),
        ("--gates", "nowhere.yaml"),
        ("--allow-mismatch", "everything"),
        ("--format", "xml"),
        ("--on-unsure", "hope"),
        ("--output", "out.pdf"),
        ("--format", "bmf"),
    ],
)
def test_a_term_that_is_wrong_ends_with_2(check: Check, arguments: tuple[str, ...]) -> None:
    code, _, errors = check(write("a.json", made()), *arguments)
    assert code == 2
    assert errors
    assert "Traceback" not in errors


@pytest.mark.parametrize("damage", [b"", b"{", b"[]", b'{"schema_version": 99}', b'{"a": NaN}'])
def test_a_damaged_report_or_baseline_ends_with_2(check: Check, damage: bytes) -> None:
    good, bad = write("good.json", made()), write("bad.json", damage)
    for report, baseline in ((good, bad), (bad, good)):
        code, output, errors = check(report, "--baseline", baseline)
        assert code == 2
        assert "FAIL" in output.splitlines()[-1]
        assert "bad.json" in errors


SMALL = make_report(
    [make_result(make_trial("static"), examples=6), make_result(make_trial("dynamic"), examples=6)],
    suite=make_suite(gates=(parse_gate("eval_accuracy>=0"), parse_gate("eval_accuracy drop<=0.5"))),
)


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.__name__)
def test_no_damaged_report_ends_with_0(check: Check, kind: Callable[..., bytes]) -> None:
    """Damage leaves the content equal, which layout may be, or it is refused: 500 mutations of every kind."""
    text = to_json(SMALL)
    draw = random.Random(f"check {kind.__name__}")
    base = write("base.json", text)
    passed = 0
    for _ in range(MUTATIONS // len(KINDS) + 1):
        mutated = kind(draw, text)
        code, _, errors = check(write("a.json", mutated), "--baseline", base)
        assert code in (0, 2), errors
        passed += code == 0
        if code == 0:
            assert Report.model_validate_json(mutated).model_copy(update={"digest": None}) == SMALL
    assert passed < MUTATIONS // len(KINDS) // 3


def test_json_is_valid_even_on_failure(check: Check) -> None:
    code, output, errors = check(write("bad.json", b"{"), "--format", "json")
    assert (code, json.loads(output)["exit_code"]) == (2, 2)
    assert errors.splitlines()[0].startswith("harness check: FAIL")


@pytest.mark.parametrize(
    ("ending", "reads"),
    [
        ("json", json.loads),
        ("xml", ET.fromstring),
        ("md", lambda text: text.startswith("# FAIL") or pytest.fail(text)),
        ("html", lambda text: "<h1>FAIL: " in text or pytest.fail(text)),
        ("csv", lambda text: text.startswith('"') or pytest.fail(text)),
        ("txt", str.splitlines),
    ],
)
def test_a_file_is_written_before_the_exit_code_is_decided(
    check: Check, ending: str, reads: Callable[[str], object]
) -> None:
    base = write("a.json", made())
    for report, wanted in ((write("b.json", made(0.8)), 1), (write("c.json", b"{"), 2)):
        out = Path(f"out.{ending}")
        code, output, errors = check(report, "--baseline", base, "--output", out)
        assert code == wanted
        assert output.startswith("harness check: FAIL")
        assert f"wrote out.{ending}" in errors
        reads(out.read_text())
        out.unlink()


def test_junit_has_one_case_a_gate(check: Check) -> None:
    _, output, _ = check(
        write("b.json", made(0.8, 15.0)), "--baseline", write("a.json", made()), "--format", "junit"
    )
    suite = ET.fromstring(output)[0]
    assert (suite.attrib["tests"], suite.attrib["failures"], suite.attrib["errors"]) == ("12", "2", "0")


def test_in_a_step_of_github_actions_annotations_and_summary_are_written(
    check: Check, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GITHUB_ACTIONS", "true")
    monkeypatch.setenv("GITHUB_STEP_SUMMARY", "summary.md")
    base, worse = write("a.json", made()), write("b.json", made(0.8, 15.0))
    code, output, errors = check(worse, "--baseline", base, "--format", "json")
    assert code == 1
    assert GateReport.model_validate_json(output).outcome == "fail"
    assert errors.count("::error title=") == 2
    assert Path("summary.md").read_text().startswith("# FAIL: gates of padding")
    code, _, errors = check(write("c.json", b"{"))
    assert code == 2
    assert "::error title=harness check::" in errors
    assert Path("summary.md").read_text().count("# FAIL") == 2


@pytest.mark.parametrize("name", formats_of("check"))
def test_hostile_text_reaches_no_output_unescaped(check: Check, name: str) -> None:
    for text in HOSTILE:
        if "\ud800" in text:
            continue
        cpu = Cpu(model=text, architecture="x", physical_cores=1, logical_cores=1)
        trial = make_trial(checkpoint=text, device=text)
        worse = make_result(trial, environment=make_environment(cpu=cpu, packages={"torch": text}))
        failed = make_result(make_trial(seed=1), status="failed").model_copy(update={"reason": text})
        other = worse.model_copy(update={"metric_version": text})
        suite = made().suite
        report = write("a.json", make_report([worse, failed], run=text, suite=suite))
        base = write("b.json", make_report([other, make_result()], run=text, suite=suite))
        for arguments in (("--baseline", str(base)), ()):
            _, output, errors = check(report, *arguments, "--format", name)
            for written in (output, errors):
                assert all(character.isprintable() or character in "\r\n" for character in written)
                assert name not in ("markdown", "junit", "html") or not re.search(r"(?<!\\)<script", written)
                for line in written.splitlines():
                    assert not line.startswith("::error") or name == "github"


def test_no_secret_of_the_environment_is_in_any_byte_written(
    check: Check, monkeypatch: pytest.MonkeyPatch
) -> None:
    canary = "hf_canary0123456789abcdef"
    for name in ("HF_TOKEN", "GITHUB_TOKEN", "AWS_SECRET_ACCESS_KEY", "MY_PASSWORD"):
        monkeypatch.setenv(name, canary)
    monkeypatch.setenv("GITHUB_ACTIONS", "true")
    monkeypatch.setenv("GITHUB_STEP_SUMMARY", "summary.md")
    base, worse, bad = write("a.json", made()), write("b.json", made(0.8)), write("c.json", b"{")
    for report in (base, worse, bad):
        for name in formats_of("check"):
            _, output, errors = check(report, "--baseline", base, "--format", name)
            assert canary not in output + errors
    written = [path.read_bytes() for path in Path().rglob("*") if path.is_file()]
    assert not any(canary.encode() in data for data in written)


def test_checking_needs_neither_torch_nor_scipy_stats() -> None:
    code = (
        "import sys, harness, harness.cli.report_commands.check\n"
        "harness.check\n"
        "sys.exit(any(name in sys.modules for name in ('torch', 'scipy.stats', 'pandas')))"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_the_command_line_ends_with_the_same_codes(tmp_path: Path) -> None:
    base, worse, bad = write("a.json", made()), write("b.json", made(0.8)), write("c.json", b"{")
    codes = []
    for report in (base, worse, bad):
        command = [sys.executable, "-m", "harness", "check", str(report), "--baseline", str(base)]
        done = subprocess.run(command, capture_output=True, text=True, env=os.environ, check=False)
        codes.append(done.returncode)
        assert "Traceback" not in done.stderr
    assert codes == [0, 1, 2]


def test_a_selection_judges_some_of_the_variants_of_both_reports(check: Check) -> None:
    Path("old.json").write_bytes(to_json(made()))
    bad = [
        r.model_copy(update={"status": "failed"}) if r.trial.padding.strategy == "static" else r
        for r in made().results
    ]
    Path("new.json").write_bytes(to_json(made().model_copy(update={"results": tuple(bad)})))
    code, output, _ = check("new.json", "--baseline", "old.json", "-k", "dynamic", "--json")
    found = json.loads(output)
    assert code == 0
    assert {case["variant"] for case in found["cases"]} == {"tiny-uncased dynamic"}
    assert found["notes"][0] == "-k 'dynamic': 1 of 2 variants"
    assert check("new.json", "--baseline", "old.json")[0] == 1
