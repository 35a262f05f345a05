"""`harness history`: series of every report under a folder, through the command line."""

from __future__ import annotations

import csv
import io
import json
import re
from datetime import datetime, timedelta
from pathlib import Path

import pytest

from harness.model.environment import Git
from harness.store.noise_file import stored_noise, write_noise
from harness.store.writing import to_json
from tests.cli.conftest import Call
from tests.factories import STARTED, make_environment, make_noise, make_report, make_result, make_trial

SPEED = "train_real_tokens_per_second"


@pytest.fixture(autouse=True)
def _reports(alone: None) -> None:
    for day in range(12):
        when = STARTED + timedelta(days=day)
        speed = (25.0 + 0.05 * (day % 3)) * (0.92 if day >= 6 else 1)
        git = Git(commit=f"{day:040x}", dirty=False, committed=when)
        results = [
            make_result(make_trial(padding), samples_per_second=speed, started=when)
            for padding in ("dynamic", "static")
        ]
        environment = make_environment(git=git)
        report = make_report(results, run=f"run-{day:02}", created=when, environment=environment)
        folder = Path("reports", "padding", f"run-{day:02}")
        folder.mkdir(parents=True)
        (folder / "report.json").write_bytes(to_json(report))


def test_every_report_under_a_folder_is_a_point_and_the_step_is_marked(call: Call) -> None:
    code, output, errors = call("history", "reports", "--metric", SPEED, "--band", "3%")
    assert (code, errors) == (0, "")
    assert "12 reports, 2 lines: 2 changes beyond the noise" in output
    assert "▁" in output
    assert output.count("run-06") == 2
    code, output, _ = call("history", "reports", "--metric", SPEED, "--band", "0.03", "--json")
    lines = json.loads(output)["lines"]
    assert [[change["point"] for change in line["metrics"][SPEED]["changes"]] for line in lines] == [[6], [6]]
    assert [len(line["points"]) for line in lines] == [12, 12]


def test_a_selection_follows_some_of_the_variants(call: Call) -> None:
    code, output, _ = call("history", "reports", "--metric", SPEED, "-k", "static", "--json")
    found = json.loads(output)
    assert (code, [line["label"].split()[-1] for line in found["lines"]]) == (0, ["static"])
    assert found["notes"][0] == "-k 'static': 1 of 2 variants"


def test_a_page_has_the_values_and_marks_of_each_line(call: Call) -> None:
    assert call("history", "reports", "-o", "page.html", "--band", "3%")[0] == 0
    page = Path("page.html").read_text()
    assert page.count("run-11") == 2
    assert len(re.findall(r"\(-[78]\.\d %\)", page)) == 2
    assert page.count("<figure>") == page.count("</svg>") == 6
    assert page.count("; 1 change beyond the noise</desc>") == 2


def test_the_csv_has_the_columns_that_otava_imports(call: Call) -> None:
    assert call("history", "reports", "--metric", SPEED, "-o", "series.csv")[0] == 0
    rows = [*csv.DictReader(io.StringIO(Path("series.csv").read_text(), newline=""))]
    assert len(rows) == 24
    assert len({row["branch"] for row in rows}) == 2
    assert [*rows[0]][:3] == ["time", "commit", "branch"]
    assert [*rows[0]][-1] == SPEED
    assert all(float(row[SPEED]) > 0 for row in rows)
    assert datetime.fromisoformat(rows[0]["time"]) == STARTED


def test_a_damaged_report_in_a_folder_is_named_and_one_that_was_named_is_an_error(call: Call) -> None:
    damaged = Path("reports/padding/run-03/report.json")
    damaged.write_bytes(b"{")
    code, output, _ = call("history", "reports", "--json")
    assert code == 0
    assert "run-03/report.json: " in json.loads(output)["notes"][0]
    for named in (damaged, damaged.parent):
        code, output, errors = call("history", named)
        assert (code, output) == (2, "")
        assert str(damaged) in errors


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("nowhere",), "nowhere: no such file"),
        (("empty",), "neither it nor a folder in it has a report.json"),
        (("reports", "--band", "wide"), "--band: 'wide' is not a number"),
        (("reports", "--band", "0"), "the band 0 is not above 0"),
        (("reports", "--metric", "speed"), "there is no metric 'speed'"),
    ],
)
def test_a_mistake_is_an_error_with_its_place(call: Call, arguments: tuple[str, ...], words: str) -> None:
    Path("empty").mkdir()
    code, output, errors = call("history", *arguments)
    assert (code, output) == (2, "")
    assert words in errors


def test_a_calibration_over_two_states_gives_the_band(call: Call) -> None:
    few = [*sorted(Path("reports/padding").glob("run-0[0-7]"))][4:]
    code, output, _ = call("history", *few, "--metric", SPEED)
    assert code == 0
    assert "no noise band" in " ".join(output.split())
    write_noise(stored_noise(), make_noise((25.0, 25.1), (25.05, 25.0), (25.1, 25.0)))
    code, output, _ = call("history", *few, "--metric", SPEED)
    assert code == 0
    assert "from the calibration of its machine" in output
    assert "2 changes beyond the noise" in output
