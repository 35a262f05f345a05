from __future__ import annotations

import json
import re
from pathlib import Path
from textwrap import dedent

import pytest
from click.testing import CliRunner

from tools import structure
from tools.structure import MEASURES, Value, in_cycles, main, measure, read_sources, table

ROOT = Path(__file__).parents[2]
DOCUMENT = ROOT / "docs" / "structure.md"
BEFORE = ROOT / "docs" / "structure-d8d5dd4.json"


def write(root: Path, files: dict[str, str]) -> None:
    for name, text in files.items():
        path = root / "harness" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(dedent(text))


def measured(root: Path, files: dict[str, str]) -> dict[str, Value]:
    write(root, files)
    return measure(read_sources(root))


def test_only_imports_that_run_on_import_count_as_edges(tmp_path: Path) -> None:
    found = measured(
        tmp_path,
        {
            "__init__.py": "",
            "a.py": """\
                import json
                from typing import TYPE_CHECKING

                from harness import b
                from harness.b import name

                if TYPE_CHECKING:
                    from harness import c

                def late():
                    from harness import c
                """,
            "b.py": "name = 1\n",
            "c.py": "try:\n    from harness.b import name\nexcept ImportError:\n    name = 2\n",
        },
    )
    assert found["edges"] == 0.5
    assert found["single_importer"] == 0
    assert found["in_cycles"] == 0
    assert found["import_percent"] == pytest.approx(100 * 7 / 16, abs=0.05)


def test_cycles_names_folders_and_words_are_counted(tmp_path: Path) -> None:
    many = {f"full/m{number}.py": "" for number in range(16)}
    found = measured(
        tmp_path,
        {
            "__init__.py": "",
            "full/__init__.py": "",
            "one/same.py": "from harness.two import same\n",
            "two/same.py": "from harness.one import same\n",
            "two/other.py": '"""The eval_f1 of cuda_graphs."""\n# Three more words.\neval_f12 = 0\n',
            **many,
        },
    )
    assert found["in_cycles"] == 2
    assert found["repeated_names"] == 1
    assert found["full_folders"] == 1
    assert (found["axis_cuda_graphs"], found["axis_last_layer"], found["metric_eval_f1"]) == (1, 0, 1)
    assert found["prose_words"] == 9


def test_a_module_beside_a_cycle_is_not_in_it() -> None:
    assert in_cycles({"a": frozenset("b"), "b": frozenset("c"), "c": frozenset("b")}) == 2


def test_a_missed_target_is_bold() -> None:
    now: dict[str, Value] = {each.key: 0 for each in MEASURES}
    drawn = table({**now, "files": 161, "in_cycles": 0}, now)
    assert "| files | 0 | **161** | at most 160 |" in drawn
    assert "| modules in an import cycle | 0 | 0 | none |" in drawn


def test_the_command_prints_json_that_it_reads_again(tmp_path: Path) -> None:
    write(tmp_path, {"a.py": "def f():\n    return 1\n\n\ndef g():\n    return 2\n"})
    printed = CliRunner().invoke(main, ["--json", "--root", str(tmp_path)])
    assert json.loads(printed.output) == measure(read_sources(tmp_path))
    (tmp_path / "old.json").write_text(printed.output)
    shown = CliRunner().invoke(main, ["--root", str(tmp_path), "--against", str(tmp_path / "old.json")])
    assert shown.output.startswith("# Structure in numbers")
    assert "| files | 1 | 1 | at most 160 |" in shown.output


def test_a_folder_without_the_package_is_refused(tmp_path: Path) -> None:
    refused = CliRunner().invoke(main, ["--root", str(tmp_path)])
    assert refused.exit_code == 2
    assert "no folder harness/ with Python files" in refused.output


def test_the_document_has_every_row_and_the_stored_state() -> None:
    before = json.loads(BEFORE.read_text())
    # Rows without the column "now", which changes with every commit.
    expected = re.findall(
        r"^\| ([^|]+) \| ([^|]+) \| [^|]+ \| ([^|]*)\|$", table(before, before), re.MULTILINE
    )
    assert len(expected) == len(MEASURES) + 2
    text = DOCUMENT.read_text()
    assert text.startswith(structure.HEAD)
    assert re.findall(r"^\| ([^|]+) \| ([^|]+) \| [^|]+ \| ([^|]*)\|$", text, re.MULTILINE) == expected
