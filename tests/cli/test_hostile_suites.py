"""Whatever is given as a suite, the command line ends with 0 or 2, soon, and without a traceback.

HARNESS_TEST_SUITES sets how many generated texts are tried; 2,000 take less than ten seconds.
"""

from __future__ import annotations

import os
import random
import time
from pathlib import Path

import pytest

from harness.cli import main
from tests.cli.nasty_files import ACCEPTED, NAMES, SMALL, make

TEXTS = int(os.environ.get("HARNESS_TEST_SUITES", "2000"))
# The promise is two seconds on an idle machine; what is quadratic takes minutes.
LONGEST_CPU_S = 10.0

PIECES = (
    *(
        "name",
        "task",
        "matrix",
        "train",
        "gates",
        "include",
        "exclude",
        "checkpoint",
        "padding",
        "seed",
        "static",
    ),
    *(
        "learning_rate",
        "5e-5",
        "010",
        "~",
        "[",
        "]",
        "{",
        "}",
        ": ",
        ":",
        "- ",
        ", ",
        "\n",
        "\n  ",
        "\t",
        "'",
        '"',
    ),
    *(
        "#",
        "&a ",
        "*a",
        "!!str ",
        "!",
        "|",
        ">",
        "? ",
        "---\n",
        "...",
        "%",
        "\\",
        "<<",
        "@",
        "`",
        "\x1b",
        "\u202e",
    ),
    *(
        "\u2028",
        "\x85",
        "1",
        "-1",
        "true",
        ".nan",
        "\0",
        "9" * 40,
        "\U0001f600",
        "embedded/bert-uncased",
        "::error::",
    ),
)


def _refused_or_planned(path: Path, capsys: pytest.CaptureFixture[str]) -> tuple[int, float]:
    """Exit code and CPU seconds of planning the suite; what it says is held to be a plan or sentences."""
    begun = time.process_time()
    with pytest.raises(SystemExit) as ended:
        main(["plan", str(path)])
    taken = time.process_time() - begun
    said = capsys.readouterr()
    assert "Traceback" not in said.err
    assert "this is a bug" not in said.err
    assert ended.value.code in (0, 2), said.err
    assert (ended.value.code == 0) == bool(said.out)
    assert all(line.isprintable() for line in (said.out + said.err).split("\n"))
    assert not list(path.parent.glob("ran"))
    assert isinstance(ended.value.code, int)
    return ended.value.code, taken


@pytest.mark.parametrize("name", NAMES)
def test_a_nasty_file_is_refused_soon_and_with_a_sentence(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    make(name, Path("suite.yaml"))
    code, taken = _refused_or_planned(Path("suite.yaml"), capsys)
    assert code == (0 if name in ACCEPTED else 2)
    assert taken < LONGEST_CPU_S


def test_there_are_sixty_of_them() -> None:
    assert len(NAMES) == 60


def _generated(draw: random.Random) -> bytes:
    """A text of pieces that YAML and suites are made of, or a good suite with some damage."""
    if draw.random() < 0.5:
        return "".join(draw.choices(PIECES, k=draw.randrange(60))).encode("utf-8", "surrogatepass")
    text = bytearray(SMALL.encode())
    for _ in range(draw.randrange(1, 6)):
        place = draw.randrange(len(text) + 1)
        change = draw.choice(PIECES).encode()
        text[place : place + draw.randrange(6)] = change if draw.random() < 0.8 else draw.randbytes(3)
    return bytes(text)


def test_generated_texts_are_planned_or_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    draw = random.Random(5)
    path = tmp_path / "suite.yaml"
    codes = []
    longest = 0.0
    for _ in range(TEXTS):
        path.write_bytes(_generated(draw))
        code, taken = _refused_or_planned(path, capsys)
        codes.append(code)
        longest = max(longest, taken)
    assert {0, 2} == set(codes)
    assert longest < LONGEST_CPU_S
