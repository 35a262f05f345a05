"""Secrets and home folders stay out of text, in whatever spelling; ordinary words stay in."""

from __future__ import annotations

import json
import string
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.machine.redaction import (
    REDACTED,
    holds_secret,
    is_secret_name,
    redact,
    secrets_in,
)
from harness.running.workers.forking import CappedLog

VALUES = st.text(st.characters(blacklist_categories=["Cs", "Cc", "Zs", "Zl", "Zp"]), min_size=8, max_size=60)
WORDS = st.text(string.ascii_lowercase + " \n", max_size=50)


@given(VALUES, WORDS, WORDS)
def test_a_secret_variables_value_never_survives_in_any_spelling(value: str, before: str, after: str) -> None:
    secrets = secrets_in({"MY_API_KEY": value})
    for spelling in (value, repr(value), json.dumps(value)):
        assert value not in redact(before + spelling + after, secrets, home="")


@pytest.mark.parametrize(
    "text",
    [
        "hf_" + "a" * 34,
        "ghp_" + "A1" * 18,
        "github_pat_" + "x1" * 20,
        "glpat-" + "x" * 20,
        "sk-proj-" + "x1" * 20,
        "AKIA" + "ABCD1234" * 2,
        "xoxb-123456789-abcdefgh",
        "https://user:p4ssword@example.org/x",
        "https://tok3ntok3n@example.org/x",
        "-----BEGIN RSA PRIVATE KEY-----\nMIIE\n-----END RSA PRIVATE KEY-----",
    ],
)
def test_published_formats_are_known(text: str) -> None:
    cleaned = redact(f"before {text} after", home="")
    assert REDACTED in cleaned
    assert cleaned.startswith("before ")
    assert cleaned.endswith(" after")
    assert holds_secret(text)


@pytest.mark.parametrize(
    "text", ["Authorization: Bearer abcdef123456", "password=hunter22", "api_key: 'x1y2z3w4'"]
)
def test_what_is_assigned_to_a_secret_name_is_hidden(text: str) -> None:
    assert redact(text, home="").endswith((REDACTED, f"{REDACTED}'"))


@pytest.mark.parametrize(
    "text",
    [
        "step 10/200, loss 0.512, 12.3k tokens/s",
        "token_type_ids dropped",
        "pad_token='<|endoftext|>'",
        "RuntimeError: shape [8, 67] is invalid",
        "https://huggingface.co/bert-base-uncased",
    ],
)
def test_ordinary_text_stays(text: str) -> None:
    assert redact(text, home="/home/ada") == text
    assert not holds_secret(text)


def test_the_home_folder_is_written_as_a_tilde_and_other_folders_are_not() -> None:
    text = "/home/ada/x.py, /home/adam/x.py, '/home/ada'"
    assert redact(text, home="/home/ada") == "~/x.py, /home/adam/x.py, '~'"


@pytest.mark.parametrize(
    "name", ["HF_TOKEN", "AWS_SECRET_ACCESS_KEY", "DB_PASSWORD", "MY_APIKEY", "npm_config__auth"]
)
def test_secret_names_are_known(name: str) -> None:
    assert is_secret_name(name)


@pytest.mark.parametrize("name", ["PATH", "TOKENIZERS_PARALLELISM", "OMP_NUM_THREADS", "KEYBOARD", "PATTERN"])
def test_ordinary_names_are_no_secrets(name: str) -> None:
    assert not is_secret_name(name)


@given(st.lists(st.binary(max_size=300), max_size=30), st.integers(1, 1_000), st.integers(1, 200))
def test_a_log_is_never_larger_than_its_limits_and_whole_below_them(
    chunks: list[bytes], head: int, tail: int
) -> None:
    with _folder() as folder:
        log = CappedLog(folder / "log", lambda text: text, head_bytes=head, tail_bytes=tail)
        for chunk in chunks:
            log.feed(chunk)
        log.close()
        written = (folder / "log").read_bytes()
    printed = b"".join(chunks)
    if len(printed) <= head:
        assert written == printed.decode("utf-8", "replace").encode()
    # A byte that is no UTF-8 becomes three.
    assert len(written) <= 3 * (head + tail) + 100


@given(st.lists(st.integers(1, 90_000), min_size=1, max_size=8), st.integers(0, 70_000))
def test_a_secret_split_over_reads_and_long_lines_is_not_written(cuts: list[int], before: int) -> None:
    secret = "s3cr3t-" + "x" * 40
    data = b"a" * before + secret.encode() + b"b" * 70_000
    with _folder() as folder:
        log = CappedLog(folder / "log", lambda text: redact(text, (secret,), home=""))
        start = 0
        for cut in (*cuts, len(data)):
            log.feed(data[start : start + cut])
            start += cut
        log.close()
        assert secret.encode() not in (folder / "log").read_bytes()


@contextmanager
def _folder() -> Iterator[Path]:
    with tempfile.TemporaryDirectory() as name:
        yield Path(name)
