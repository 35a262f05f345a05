"""The options of all commands: declared once, with one meaning, in the groups of the help."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterator
from dataclasses import fields
from pathlib import Path

import click
import pytest

from harness.cli import COMMANDS, cli, main
from harness.cli.parsing import Option
from harness.cli.shared_options import harness_command, output_options
from harness.cli.writing_results import Target, write
from harness.errors import InvalidInputError
from harness.output.builders.this_machine import diagnosis_document
from harness.running.options import RunOptions, declared
from tests.running.fakes import RUNNERS, write_suite


def commands() -> Iterator[click.Command]:
    """Every command and every command of a group."""
    with click.Context(cli) as context:
        for name in COMMANDS:
            found = cli.get_command(context, name)
            assert found is not None
            yield from found.commands.values() if isinstance(found, click.Group) else [found]


def options() -> Iterator[tuple[str, click.Option]]:
    """Every option of every command, with the command's name."""
    for command in commands():
        for param in command.params:
            if isinstance(param, click.Option):
                yield str(command.name), param


def run_params() -> dict[str, click.Option]:
    (run,) = (command for command in commands() if command.name == "run")
    return {str(param.name): param for param in run.params if isinstance(param, click.Option)}


@pytest.mark.parametrize("name", [each.name for each in fields(RunOptions)])
def test_every_field_of_the_options_of_a_run_is_an_option_of_the_command_line(name: str) -> None:
    (field,) = (each for each in declared() if each.name == name)
    param = run_params()[name]
    assert param.opts == ["--" + name.removesuffix("_s").replace("_", "-")]
    assert param.default == field.default
    assert param.help == field.option.help
    assert isinstance(param, Option)
    assert param.group == field.option.group


def test_the_options_of_a_command_line_reach_the_run(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[RunOptions] = []

    def refuse(_path: Path, _overrides: tuple[str, ...], given: RunOptions, until: object) -> None:
        assert until is None
        seen.append(given)
        raise InvalidInputError("not run")

    monkeypatch.setattr("harness.cli.suite_commands.run._run", refuse)
    line = (
        "run x.yaml --assets hub --reports r --strict --fresh --rerun all --wait --trial-timeout 5 "
        "--retries 2 --fail-fast --stop-after-same-error 3 --jobs 4 --no-parity --executor ray "
        "--ray-address a:1 --runner m:f --grace 1"
    )
    with pytest.raises(SystemExit):
        main(line.split())
    assert seen == [
        RunOptions(
            assets="hub",
            reports=Path("r"),
            strict=True,
            fresh=True,
            rerun="all",
            wait=True,
            trial_timeout_s=5.0,
            retries=2,
            fail_fast=True,
            stop_after_same_error=3,
            jobs=4,
            parity=False,
            executor="ray",
            ray_address="a:1",
            runner="m:f",
            grace_s=1.0,
        )
    ]


# `rescore` writes a report with new scores, `merge` and `export` write a folder; compare also accepts a
# value of the axis.
OWN_HELP = {
    ("rescore", "output"),
    ("merge", "output"),
    ("export", "output"),
    ("compare", "baseline"),
    ("fetch", "listing"),
    ("calibrate", "listed"),
}


def test_an_option_has_one_meaning_in_every_command() -> None:
    meanings: dict[str, set[tuple[object, ...]]] = {}
    for command, param in options():
        own = (command, param.name) in OWN_HELP
        for flag in param.opts:
            if not own:
                meanings.setdefault(flag, set()).add((param.name, param.help, param.is_flag, param.multiple))
    assert {flag: found for flag, found in meanings.items() if len(found) > 1} == {}


def test_every_switch_has_a_negative() -> None:
    switches = [param for _, param in options() if param.is_flag and param.name != "help"]
    assert switches
    for param in switches:
        (positive,) = (flag for flag in param.opts if flag.startswith("--"))
        assert param.secondary_opts == [f"--no-{positive[2:]}"]


def test_o_is_the_output_file_and_s_sets_a_value_everywhere() -> None:
    found = {flag: {param.name for _, param in options() if flag in param.opts} for flag in ("-o", "-s")}
    assert found == {"-o": {"output"}, "-s": {"overrides"}}
    overriding = {command for command, param in options() if param.name == "overrides"}
    assert overriding == {"run", "plan", "inspect", "prove", "ab", "calibrate"}


def test_every_command_that_takes_reports_selects_their_variants() -> None:
    found = {command for command, param in options() if param.opts == ["-k"]}
    assert found == {"show", "compare", "check", "rescore", "export", "history"}


def test_the_help_of_run_groups_its_options(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["run", "--help"])
    shown = capsys.readouterr().out
    headings = [line for line in shown.splitlines() if line.endswith(":") and not line.startswith(" ")]
    assert headings == ["What to run:", "What to compare:", "Where:", "Limits:", "Gates:", "Output:"]
    assert "--[no-]strict" in shown
    assert "--no-strict" not in shown
    assert "--runner" not in shown
    assert shown.index("Where:") < shown.index("--executor") < shown.index("Limits:")
    assert shown.index("Output:") < shown.index("-q, --[no-]quiet") < shown.index("-h, --help")


def run(
    folder: Path, capsys: pytest.CaptureFixture[str], *arguments: str, extra: str = ""
) -> tuple[int, str, str]:
    """Run a suite of two trials with a fake runner: exit code, standard output and standard error."""
    suite = str(write_suite(folder, extra=extra))
    fixed = ["--assets", "embedded", "--no-parity", "--runner", f"{RUNNERS}:good", "--reports", str(folder)]
    with pytest.raises(SystemExit) as ended:
        main(["run", suite, *fixed, *arguments])
    assert isinstance(ended.value.code, int)
    return (ended.value.code, *capsys.readouterr())


def test_quiet_prints_the_result_alone_and_verbose_more(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HARNESS_CACHE_DIR", str(tmp_path / "cache"))
    monkeypatch.setattr(sys.stderr, "isatty", lambda: False, raising=False)
    code, output, errors = run(tmp_path, capsys, "--quiet")
    assert (code, errors) == (0, "")
    assert "2 completed" in output
    _, _, usual = run(tmp_path, capsys, "--fresh")
    _, _, verbose = run(tmp_path, capsys, "--fresh", "-v")
    assert "report:" in usual
    assert len(verbose.splitlines()) > len(usual.splitlines())


def test_the_report_of_a_run_is_written_to_a_file_in_the_format_of_its_ending(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HARNESS_CACHE_DIR", str(tmp_path / "cache"))
    code, output, errors = run(tmp_path, capsys, "-o", str(tmp_path / "out.csv"))
    assert (code, output) == (0, "")
    assert "wrote" in errors
    assert (tmp_path / "out.csv").read_text().startswith('"suite"')


@pytest.mark.parametrize(("name", "code"), [("no/such/out.csv", 74), ("pipe.csv", 2)])
def test_a_file_that_cannot_be_written_is_told_before_the_first_trial(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], name: str, code: int
) -> None:
    os.mkfifo(tmp_path / "pipe.csv")
    ended, _, errors = run(tmp_path, capsys, "-o", str(tmp_path / name))
    assert (ended, f"cannot write {tmp_path / name}" in errors) == (code, True)
    assert not (tmp_path / "fake").exists()
    assert (tmp_path / "pipe.csv").is_fifo()


def test_a_file_in_the_folder_of_the_reports_that_the_run_makes_is_written(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HARNESS_CACHE_DIR", str(tmp_path / "cache"))
    reports = tmp_path / "reports"
    code, _, errors = run(tmp_path, capsys, "--reports", str(reports), "-o", str(reports / "out.csv"))
    assert code == 0, errors
    assert (reports / "out.csv").read_text().startswith('"suite"')


def test_a_summary_of_a_step_that_cannot_be_written_takes_no_verdict(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HARNESS_CACHE_DIR", str(tmp_path / "cache"))
    monkeypatch.setenv("GITHUB_ACTIONS", "true")
    monkeypatch.setenv("GITHUB_STEP_SUMMARY", str(tmp_path / "no" / "summary"))
    gates = "gates: [{metric: train_seconds, max: 1e-9}]\n"
    named = ("-s", "matrix.checkpoint=[embedded/distilbert]", "-s", "task={dataset: embedded/pairs}")
    code, output, errors = run(tmp_path, capsys, *named, extra=gates)
    assert code == 1
    assert "the summary of the step cannot be written: No such file or directory" in errors
    assert output.splitlines()[-1].startswith("harness check: ")


def test_the_gates_follow_on_standard_output_where_the_report_goes_to_a_file(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HARNESS_CACHE_DIR", str(tmp_path / "cache"))
    gates = "gates: [{metric: train_seconds, min: 1e-9}]\n"
    # Assets that are named as embedded ones are no stand-ins.
    named = ("-s", "matrix.checkpoint=[embedded/distilbert]", "-s", "task={dataset: embedded/pairs}")
    code, output, _ = run(tmp_path, capsys, *named, "-o", str(tmp_path / "out.json"), extra=gates)
    assert code == 0
    assert "train_seconds" in output
    assert output.splitlines()[-1].startswith("harness check: PASS")


@pytest.mark.parametrize("every_failure", [False, True])
@pytest.mark.parametrize("name", ["json", "table"])
@pytest.mark.parametrize("begun", [False, True])
def test_an_error_takes_the_place_of_a_result_and_never_follows_one(
    name: str, begun: bool, every_failure: bool, capsys: pytest.CaptureFixture[str]
) -> None:
    @harness_command("judge")
    @output_options("diagnosis", every_failure=every_failure)
    def judge(target: Target) -> None:
        if begun:
            write(diagnosis_document(()), target)
        raise InvalidInputError("the calibration is damaged")

    with pytest.raises(InvalidInputError):
        judge.main(["--format", name], standalone_mode=False)
    output = capsys.readouterr().out
    assert ("the calibration is damaged" in output) == (not begun and (every_failure or name == "json"))
    if name == "json":
        json.loads(output)


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (("run", "{suite}", "--trial-timeout", "inf"), "inf is not in the range"),
        (("run", "{suite}", "--trial-timeout", "nan"), "trial_timeout_s is nan"),
        (("plan", "{suite}", "--price", "nan"), "--price is nan"),
        (("plan", "{suite}", "--price", "inf"), "--price is inf"),
        (("calibrate", "{suite}", "--spread", "99999999999999h"), "is more than a year"),
    ],
)
def test_numbers_without_end_are_refused(
    arguments: tuple[str, ...], told: str, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    suite = tmp_path / "suite.yaml"
    suite.write_text("name: a\nmatrix: {checkpoint: [bert-base-uncased]}\n")
    with pytest.raises(SystemExit) as ended:
        main([each.replace("{suite}", str(suite)) for each in arguments])
    assert ended.value.code == 2
    assert told in capfd.readouterr().err.replace("\n", " ")
