from __future__ import annotations

import errno
import json
import os
import stat
from contextlib import nullcontext
from pathlib import Path

import pytest

from harness.errors import InvalidInputError, StorageError
from harness.store.folders import is_there, make_folder, names_in
from harness.store.writing import Files, require_writable, to_json, write_atomic
from tests.factories import make_report, make_result, make_suite, make_trial
from tests.store.storing import temporary_files


def test_json_is_indented_utf8_with_a_newline_at_the_end_and_numbers_on_one_line() -> None:
    report = make_report([make_result(examples=2, notes=("é\u2028\U0001f600", "NaN and Infinity"))])
    text = to_json(report).decode()
    assert text.startswith('{\n  "schema_version": 2,\n  "digest": "sha256:')
    assert text.endswith("}\n")
    assert "é\u2028\U0001f600" in text
    assert '"example_ids": [0, 1],\n' in text
    assert json.loads(text)["results"][0]["notes"] == ["é\u2028\U0001f600", "NaN and Infinity"]


def test_numbers_in_texts_keep_their_layout() -> None:
    result = make_result(log_tail="losses:\n  1\n  [\n  2,\n  3]\n")
    assert json.loads(to_json(result))["log_tail"] == "losses:\n  1\n  [\n  2,\n  3]\n"


@pytest.mark.parametrize("value", [float("nan"), float("inf"), float("-inf")])
def test_what_json_cannot_carry_is_refused_where_validation_was_bypassed(value: float) -> None:
    with pytest.raises(ValueError, match="cannot be written as JSON"):
        to_json(make_result().model_copy(update={"duration_s": value}))
    with pytest.raises(ValueError, match="cannot be written as JSON"):
        to_json(make_result().model_copy(update={"log_tail": "\ud800"}))
    with pytest.raises(ValueError, match="not JSON compliant"):
        make_report(suite=make_suite(matrix={"train.learning_rate": (value,)}))


def test_a_file_is_written_whole_and_over_an_old_one(tmp_path: Path) -> None:
    write_atomic(tmp_path / "file", b"old" * 100_000)
    write_atomic(tmp_path / "file", b"")
    assert (tmp_path / "file").read_bytes() == b""
    write_atomic(tmp_path / "file", bytes(range(256)) * 10_000)
    assert (tmp_path / "file").read_bytes() == bytes(range(256)) * 10_000
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


def test_a_name_of_the_longest_length_can_be_written(tmp_path: Path) -> None:
    write_atomic(tmp_path / ("x" * 255), b"text")
    assert (tmp_path / ("x" * 255)).read_bytes() == b"text"


def test_a_file_has_the_permissions_that_the_user_gives_new_files(tmp_path: Path) -> None:
    before = os.umask(0o027)
    write_atomic(tmp_path / "file", b"")
    os.umask(before)
    assert stat.S_IMODE((tmp_path / "file").stat().st_mode) == 0o640


def test_a_symbolic_link_is_replaced_and_not_followed(tmp_path: Path) -> None:
    (tmp_path / "elsewhere").write_text("mine")
    (tmp_path / "link").symlink_to(tmp_path / "elsewhere")
    write_atomic(tmp_path / "link", b"new")
    assert (tmp_path / "elsewhere").read_text() == "mine"
    assert not (tmp_path / "link").is_symlink()


def test_what_cannot_be_written_to_is_named(tmp_path: Path) -> None:
    with pytest.raises(StorageError, match=r"cannot write .*/missing/file: No such file or directory"):
        write_atomic(tmp_path / "missing" / "file", b"")
    (tmp_path / "folder").mkdir()
    with pytest.raises(StorageError, match=r"cannot write .*/folder: Is a directory"):
        write_atomic(tmp_path / "folder", b"")
    assert temporary_files(tmp_path) == []


@pytest.mark.parametrize(
    ("kind", "error", "words"),
    [
        ("file", None, ""),
        ("nothing", None, ""),
        ("folder", InvalidInputError, "is a folder, a device or a pipe"),
        (".", InvalidInputError, "is a folder, a device or a pipe"),
        ("pipe", InvalidInputError, "is a folder, a device or a pipe"),
        ("link to a pipe", InvalidInputError, "is a folder, a device or a pipe"),
        ("missing/file", StorageError, "No such file or directory"),
        ("file/file", StorageError, "Not a directory"),
    ],
)
def test_a_path_that_will_not_be_written_is_told_before_the_work(
    tmp_path: Path, kind: str, error: type[Exception] | None, words: str
) -> None:
    (tmp_path / "file").write_text("mine")
    (tmp_path / "folder").mkdir()
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "link to a pipe").symlink_to(tmp_path / "pipe")
    before = sorted(tmp_path.iterdir())
    with nullcontext() if error is None else pytest.raises(error, match=words):
        require_writable(tmp_path / kind)
    assert sorted(tmp_path.iterdir()) == before
    assert (tmp_path / "file").read_text() == "mine"


def test_an_interrupt_in_the_middle_leaves_the_old_file_and_nothing_else(tmp_path: Path) -> None:
    def interrupted(descriptor: int, data: bytes) -> int:
        os.write(descriptor, data[:2])
        raise KeyboardInterrupt

    write_atomic(tmp_path / "file", b"old")
    with pytest.raises(KeyboardInterrupt):
        write_atomic(tmp_path / "file", b"new", files=Files(write=interrupted))
    assert (tmp_path / "file").read_bytes() == b"old"
    assert temporary_files(tmp_path) == []


def test_folders_are_made_down_to_the_last_and_an_old_one_is_welcome(tmp_path: Path) -> None:
    for _ in range(2):
        make_folder(tmp_path / "a" / "b" / "c")
        assert (tmp_path / "a" / "b" / "c").is_dir()
    (tmp_path / "file").touch()
    with pytest.raises(FileExistsError):
        make_folder(tmp_path / "file")


def test_a_result_of_a_trial_is_the_same_bytes_every_time() -> None:
    assert to_json(make_result(make_trial(seed=1))) == to_json(make_result(make_trial(seed=1)))


@pytest.mark.parametrize(
    ("code", "written"), [(errno.EINVAL, True), (errno.ENOTSUP, True), (errno.EIO, False)]
)
def test_a_file_system_that_cannot_synchronize_folders_keeps_the_file_and_a_broken_disk_is_an_error(
    tmp_path: Path, code: int, written: bool
) -> None:
    def fsync(descriptor: int) -> None:
        if stat.S_ISDIR(os.fstat(descriptor).st_mode):
            raise OSError(code, os.strerror(code))

    refused = nullcontext() if written else pytest.raises(StorageError, match=r"cannot write .*x\.json")
    with refused:
        write_atomic(tmp_path / "x.json", b"new", files=Files(fsync=fsync))
    assert (tmp_path / "x.json").read_bytes() == b"new"


def test_a_path_that_the_system_cannot_look_up_is_named() -> None:
    path = Path("x" * 300)
    with pytest.raises(StorageError, match=r"cannot look for x+: File name too long"):
        is_there(path)
    with pytest.raises(StorageError, match=r"cannot read the folder x+: File name too long"):
        names_in(path)
