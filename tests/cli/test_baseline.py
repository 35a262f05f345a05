"""`harness baseline`: keeping, listing and showing what others are compared with."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from harness.cli import main
from harness.errors import NotComparableError
from harness.store.baselines import find_baseline
from harness.store.reading import load_report
from harness.store.writing import to_json
from tests.factories import make_report, make_result, make_trial

Run = Callable[..., tuple[int, str, str]]
MAIN = Path("reports/baselines/main.json")


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> Run:
    monkeypatch.chdir(tmp_path)

    def run(*arguments: str | Path) -> tuple[int, str, str]:
        with pytest.raises(SystemExit) as ended:
            main(["baseline", *map(str, arguments)])
        assert isinstance(ended.value.code, int)
        return (ended.value.code, *capfd.readouterr())

    return run


def write(name: str, run: str = "first") -> Path:
    path = Path(name)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(to_json(make_report(run=run)))
    return path


def test_a_report_is_kept_under_a_name_and_what_it_replaces_is_printed(run: Run) -> None:
    code, output, _ = run("set", write("runs/1/report.json").parent, "main")
    assert (code, output) == (0, f"kept {MAIN}\n")
    assert load_report(MAIN) == make_report(run="first")
    code, output, _ = run("set", write("b.json", "second"), "main")
    assert (code, output) == (0, f"kept {MAIN}, replacing run first\n")
    assert load_report(MAIN).run == "second"
    MAIN.write_bytes(b"{")
    assert "replacing an unreadable file" in run("set", "b.json", "main")[1]


@pytest.mark.parametrize("name", ["../x", "a/b", "", ".", "x" * 65, "CON", "naïve", "a b", "-x\n"])
def test_a_name_that_could_be_a_path_is_refused(run: Run, name: str) -> None:
    code, output, errors = run("set", write("a.json"), "--", name)
    assert (code, output) == (2, "")
    assert "cannot be the name of a baseline" in errors
    assert not Path("reports").exists()


def test_a_report_with_a_lost_or_degenerate_trial_is_no_baseline_unless_forced(run: Run) -> None:
    bad = make_report([make_result(make_trial(seed=1), status="oom"), make_result(degenerate=True)])
    for report, says in ((bad, "1 oom, 1 degenerate"), (make_report([]), "it has no trial")):
        Path("bad.json").write_bytes(to_json(report))
        code, _, errors = run("set", "bad.json", "main")
        assert code == 2
        assert says in errors
        assert not MAIN.exists()
    assert run("set", "bad.json", "main", "--force")[0] == 0
    assert MAIN.exists()


def test_a_damaged_report_is_not_kept(run: Run) -> None:
    Path("bad.json").write_bytes(to_json(make_report())[:-20])
    assert run("set", "bad.json", "main", "--force")[0] == 2
    assert not MAIN.exists()


def test_a_file_in_the_place_of_the_folder_is_told(run: Run) -> None:
    Path("reports").write_text("")
    code, _, errors = run("set", write("a.json"), "main")
    assert code == 2
    assert "Traceback" not in errors


def test_baselines_are_listed_and_shown(run: Run) -> None:
    assert run("list") == (0, "", "")
    run("set", write("a.json"), "main")
    run("set", write("b.json", "second"), "gpu-a100")
    assert run("list")[1].splitlines() == [
        "gpu-a100  2026-01-02  padding, 6 trials, run second",
        "main      2026-01-02  padding, 6 trials, run first",
    ]
    assert run("show", "main")[1].startswith("padding: 2 variants, 6 trials")
    assert run("show", "nothing")[0] == 3
    MAIN.write_bytes(b"{")
    code, output, _ = run("list")
    assert code == 2
    assert "main      unreadable:  " in output
    assert "gpu-a100  2026" in output
    code, output, _ = run("list", "--format", "json")
    first, second = json.loads(output)["baselines"]
    assert (code, first["name"], first["content"]) == (2, "gpu-a100", "padding, 6 trials, run second")
    assert "main.json" in second["unreadable"]


def test_baselines_can_lie_elsewhere(run: Run) -> None:
    run("set", write("a.json"), "main", "--reports", "elsewhere")
    assert Path("elsewhere/baselines/main.json").exists()
    assert "main" in run("list", "--reports", "elsewhere")[1]


def _against_main(capfd: pytest.CaptureFixture[str], *command: str) -> str:
    """What a command given `--baseline main` or another says on standard error."""
    with pytest.raises(SystemExit):
        main(list(command))
    return capfd.readouterr().err


@pytest.mark.parametrize("kind", ["file", "folder"])
def test_a_bare_name_is_the_kept_baseline_whatever_lies_in_the_current_directory(
    run: Run, kind: str, capfd: pytest.CaptureFixture[str]
) -> None:
    run("set", write("a.json", "kept"), "main")
    write("main" if kind == "file" else "main/report.json", "planted")
    assert find_baseline("main") == MAIN
    said: list[str] = []
    find_baseline("main", note=said.append)
    assert said == [f"baseline main: using {MAIN}, the kept one; write ./main for the file in this folder"]
    for command in (("check", "a.json"), ("compare", "a.json")):
        assert f"using {MAIN}" in _against_main(capfd, *command, "--baseline", "main")
        assert "using" not in _against_main(capfd, *command, "--baseline", "./main")


def test_a_path_is_written_with_a_slash_and_a_bare_file_is_taken_where_no_baseline_has_its_name(
    run: Run,
) -> None:
    write("main/report.json")
    assert find_baseline("main") == Path("main")
    run("set", write("a.json", "kept"), "main")
    assert find_baseline("./main") == Path("main")
    assert find_baseline(str(Path("main").absolute())) == Path("main").absolute()
    assert find_baseline("a.json") == Path("a.json")
    with pytest.raises(NotComparableError, match="there is no baseline other"):
        find_baseline("other")
