"""`harness init`: a suite that runs unchanged, in which every commented setting can be switched on."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from harness.cli import main
from harness.cli.suite_commands.init import TEMPLATE
from harness.model.suite import Suite
from harness.suite.matrix import expand
from harness.suite.suite_file import load_suite, parse_suite
from harness.suite.suite_schema import suite_schema

LINES = TEMPLATE.replace("NAME", "mine").splitlines()
SETTINGS = [line for line in LINES if re.match(r" *#\w", line)]


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def init(*arguments: str) -> int:
    with pytest.raises(SystemExit) as ended:
        main(["init", *arguments])
    assert isinstance(ended.value.code, int)
    return ended.value.code


def test_the_suite_is_found_by_its_name_and_an_editor_finds_its_schema(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert init("mine") == 0
    assert capsys.readouterr().out == "wrote mine.yaml; next: harness plan mine\n"
    suite = load_suite("mine")
    assert suite.name == "mine"
    assert len(expand(suite, ("cpu",))) == 6
    (schema,) = re.findall(
        r"^# yaml-language-server: \$schema=(.+)$", (folder / "mine.yaml").read_text(), re.MULTILINE
    )
    assert json.loads((folder / schema).read_text())["$defs"] == suite_schema()["$defs"]


def test_the_name_is_suite_by_default() -> None:
    assert init() == 0
    assert load_suite("suite.yaml").name == "suite"


def test_every_key_of_a_suite_is_explained() -> None:
    keys = {match[1] for line in LINES if (match := re.match(r"#?(\w+):", line))}
    assert keys == set(Suite.model_fields)


@pytest.mark.parametrize("setting", SETTINGS)
def test_a_commented_setting_can_be_switched_on(setting: str) -> None:
    key = re.match(r" *#([\w.]+):", setting)
    assert key is not None
    others = [line for line in LINES if not re.match(rf" *{re.escape(key[1])}:", line)]
    text = "\n".join(line.replace("#", "", 1) if line == setting else line for line in others)
    suite = parse_suite(text, "mine.yaml")
    assert suite != parse_suite("\n".join(LINES), "mine.yaml") or key[1] == "max_trials"


def test_no_file_is_overwritten(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (folder / "mine.yaml").write_text("mine")
    assert init("mine") == 2
    assert "mine.yaml: it exists already" in capsys.readouterr().err
    (folder / "suite.schema.json").write_text("old")
    assert init("other") == 0
    assert "suite.schema.json: left unchanged" in capsys.readouterr().err
    assert (folder / "suite.schema.json").read_text() == "old"
    assert init("third") == 0
    assert (folder / "mine.yaml").read_text() == "mine"


@pytest.mark.parametrize("name", ["a/b", "..", "-", "a b", "", "12", "null"])
def test_a_name_that_no_suite_can_have_is_refused(
    name: str, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert init("--", name) == 2
    assert f"{name!r} cannot be the name of a suite" in capsys.readouterr().err
    assert list(folder.iterdir()) == []
