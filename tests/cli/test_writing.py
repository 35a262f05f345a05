"""How commands write their documents: to a file or standard output, in every format that carries them."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from harness.cli import main
from harness.cli.writing_results import write_stored
from harness.output.builders.report import report_document
from harness.output.document import PARTS, Kind
from harness.output.formats.known_formats import BINARY, ENDINGS, FORMATS, formats_of, render
from harness.store.writing import to_json
from tests.factories import make_report
from tests.output.hostile import HOSTILE, hostile_documents, hostile_report, inspected
from tests.output.written import written
from tests.suite.suite_texts import SMALL


@pytest.mark.parametrize("text", [one for one in HOSTILE if "\ud800" not in one])
def test_line_by_line_is_as_safe_as_the_whole(
    text: str, tmp_path: Path, capfdbinary: pytest.CaptureFixture[bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("GITHUB_ACTIONS", raising=False)
    report = hostile_report(text)
    (tmp_path / "report.json").write_bytes(to_json(report))
    write_stored(tmp_path / "report.json", report_document(report))
    assert capfdbinary.readouterr().out == written(report, "json").encode()


COMMANDS: dict[Kind, tuple[str, ...]] = {
    "report": ("show", "report.json"),
    "comparison": ("compare", "report.json", "report.json"),
    "check": ("check", "report.json", "--no-suite-gates"),
    "plan": ("plan", "suite.yaml", "--assets", "embedded"),
    "diagnosis": ("doctor", "--offline"),
    "calibration": ("calibrate", "--list"),
    "list of baselines": ("baseline", "list"),
    "inspection": ("inspect", "suite.yaml", "--assets", "embedded"),
    "history": ("history", "report.json"),
    "list of runs": ("list",),
}


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HARNESS_CACHE_DIR", str(tmp_path / "cache"))
    monkeypatch.delenv("GITHUB_ACTIONS", raising=False)
    (tmp_path / "report.json").write_bytes(to_json(make_report()))
    (tmp_path / "suite.yaml").write_text(SMALL)
    monkeypatch.setattr(
        "harness.cli.suite_commands.inspect.inspect_suite", lambda *_args, **_given: inspected("x")
    )
    return tmp_path


def run(*arguments: str) -> int:
    with pytest.raises(SystemExit) as ended:
        main([*arguments])
    assert isinstance(ended.value.code, int)
    return ended.value.code


@pytest.mark.parametrize(
    ("kind", "ending", "name"),
    [(kind, ending, name) for kind in COMMANDS for ending, name in ENDINGS.items()],
)
def test_a_files_ending_chooses_the_format_in_every_command(
    folder: Path, capfd: pytest.CaptureFixture[str], kind: Kind, ending: str, name: str
) -> None:
    if name in BINARY and kind == "report":
        pytest.importorskip("pyarrow")
    code = run(*COMMANDS[kind], "--output", f"out{ending}")
    told = capfd.readouterr()
    if name in formats_of(kind) or (name in BINARY and kind == "report"):
        assert code == 0
        assert (folder / f"out{ending}").exists()
        assert f"wrote out{ending}" in told.err
    else:
        assert code == 2
        assert f"a {kind} cannot be written as {name}" in told.err
        assert f"Use one of {', '.join(formats_of(kind))}." in told.err


@pytest.mark.parametrize("kind", COMMANDS)
def test_json_is_valid_for_every_result(folder: Path, capfd: pytest.CaptureFixture[str], kind: Kind) -> None:
    assert run(*COMMANDS[kind], "--format", "json") == 0
    assert json.loads(capfd.readouterr().out)


@pytest.mark.parametrize("kind", PARTS)
def test_each_kind_of_document_has_the_parts_that_its_formats_need(kind: Kind) -> None:
    document = hostile_documents("x")[kind]
    for name in formats_of(kind):
        needs = FORMATS[name].needs
        assert needs is None or [*getattr(document, needs)]
        assert isinstance(render(document, name), str)
    assert document.name or "cases" not in PARTS[kind]


@pytest.mark.parametrize(
    "arguments",
    [
        ("show", "none.json"),
        ("compare", "none.json", "none.json"),
        ("check", "none.json"),
        ("rescore", "none.json"),
        ("history", "none.json"),
        ("run", "none.yaml"),
        ("plan", "none.yaml"),
        ("prove", "none.yaml"),
        ("ab", "none.yaml", "none.yaml"),
        ("calibrate", "none.yaml"),
        ("baseline", "show", "none"),
    ],
    ids=" ".join,
)
def test_json_is_valid_when_any_command_fails(
    folder: Path, capfd: pytest.CaptureFixture[str], arguments: tuple[str, ...]
) -> None:
    code = run(*arguments, "--format", "json")
    told = capfd.readouterr()
    found = json.loads(told.out)
    assert code == found["exit_code"] != 0
    assert found["error"] in told.err
