"""Twelve canaries in the environment, a git remote, an argument, an exception: in no byte that is written."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from harness.cli import cli, main
from tests.running.fakes import start, write_suite

CANARIES = {
    "HF_TOKEN": "canaryhf_0123456789abcdefghij",
    "HUGGING_FACE_HUB_TOKEN": "canary-hub-0123456789",
    "AWS_ACCESS_KEY_ID": "CANARYAWSACCESSKEY01",
    "AWS_SECRET_ACCESS_KEY": "canary/aws+secret/0123456789",
    "GITHUB_TOKEN": "canary_github_0123456789",
    "WANDB_API_KEY": "canarywandb0123456789",
    "DATABASE_PASSWORD": "canary 'quoted\" pass\\word",
    "HTTPS_PROXY": "http://me:canaryproxy0123@proxy.invalid:8080",
    "PRIVATE_KEY": "-----BEGIN PRIVATE KEY-----\ncanaryprivatekey0123456789\n-----END PRIVATE KEY-----",
}
IN_REMOTE = "canaryremote0123456789"
IN_ARGUMENT = "canaryargument0123456789"
IN_EXCEPTION = "hf_canaryexception0123456789"
VALUES = [
    *(value for name, value in CANARIES.items() if name not in ("HTTPS_PROXY", "PRIVATE_KEY")),
    "canaryproxy0123",
    "canaryprivatekey0123456789",
    IN_REMOTE,
    IN_EXCEPTION,
]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A git repository whose remote holds a token."""
    remote = f"https://user:{IN_REMOTE}@example.invalid/x.git"
    for arguments in (["init", "-q"], ["remote", "add", "origin", remote]):
        subprocess.run(["git", *arguments], cwd=tmp_path, check=True)
    return tmp_path


def _written(folder: Path) -> bytes:
    return b"".join(
        path.read_bytes() for path in folder.rglob("*") if path.is_file() and ".git" not in path.parts
    )


def test_no_canary_reaches_a_file_or_the_terminal(folder: Path) -> None:
    suite = write_suite(folder, [0, 1])
    # The worker's environment lacks them, so they are handed over in a file, as a library might find them.
    given = folder / ".git" / "canaries"
    remote = f"https://user:{IN_REMOTE}@example.invalid/x.git"
    given.write_text("\0".join(remote if value == IN_REMOTE else value for value in VALUES))
    process = start(suite, cwd=folder, runner="leaky", FAKE_LEAKS=str(given), **CANARIES)
    output, errors = process.communicate(timeout=240)
    assert process.returncode == 1
    everything = _written(folder) + output.encode() + errors.encode()
    assert b"leaking:" in everything
    assert [value for value in VALUES if value.encode() in everything] == []


def test_a_secret_in_an_argument_is_refused_without_being_repeated(folder: Path) -> None:
    suite = write_suite(folder)
    argument = f"matrix.checkpoint=['https://user:{IN_ARGUMENT}@example.invalid/model']"
    process = start("-s", argument, suite, cwd=folder)
    output, errors = process.communicate(timeout=240)
    assert process.returncode == 2
    assert IN_ARGUMENT.encode() not in _written(folder) + output.encode() + errors.encode()


def test_a_password_in_the_hubs_address_is_in_no_row_and_no_error(folder: Path) -> None:
    suite = write_suite(folder)
    address = "http://me:canaryendpoint0123@127.0.0.1:1"
    for checkpoints, code in (("[roberta-base, embedded/distilbert]", 1), ("[roberta-base]", 69)):
        change = f"matrix.checkpoint={checkpoints}"
        process = start(
            "--assets", "auto", "-s", change, suite, cwd=folder,
            HF_ENDPOINT=address, HF_HUB_OFFLINE="0", HF_HOME=str(folder / "hf"),
        )  # fmt: skip
        output, errors = process.communicate(timeout=240)
        assert process.returncode == code, errors
        assert "roberta-base" in errors
        everything = _written(folder) + output.encode() + errors.encode()
        assert b"canaryendpoint0123" not in everything


@pytest.mark.parametrize("option", ["--trial-timeout", "--reports-in", "--retries"])
def test_a_secret_typed_in_the_wrong_place_is_not_repeated(folder: Path, option: str) -> None:
    process = start(option, CANARIES["GITHUB_TOKEN"], write_suite(folder), cwd=folder, **CANARIES)
    output, errors = process.communicate(timeout=240)
    assert process.returncode == 2
    assert CANARIES["GITHUB_TOKEN"] not in output + errors


def test_a_bug_is_reported_without_the_secrets_in_its_traceback(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("GITHUB_TOKEN", CANARIES["GITHUB_TOKEN"])

    def bug(*_arguments: object, **_options: object) -> None:
        raise RuntimeError(f"with {CANARIES['GITHUB_TOKEN']}")

    monkeypatch.setattr(cli, "main", bug)
    with pytest.raises(SystemExit) as ended:
        main(["plan"])
    assert ended.value.code == 70
    said = capsys.readouterr().err
    assert "RuntimeError: with [redacted]" in said
    assert "this is a bug in harness" in said
