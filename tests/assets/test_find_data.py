from __future__ import annotations

from pathlib import Path

import pytest

from harness.assets.find_data import find_data, local_data, source_of
from harness.errors import InvalidInputError, UnavailableError
from harness.model.assets import AssetsMode, ResolvedData
from harness.model.tasks import Task
from tests.assets.hub_layout import COMMIT, cache_repo

MRPC = {f"mrpc/{split}-00000-of-00001.parquet": b"PAR1" for split in ("train", "validation", "test")}
GLUE = ("train.tsv", "dev.tsv", "test.tsv")
MICROSOFT = ("msr_paraphrase_train.txt", "msr_paraphrase_test.txt", "dev_ids.tsv")
OTHER = Task(dataset="owner/set", config=None)
PARTS = [f"train-{part:05}-of-00003.parquet" for part in (2, 0, 1)]


def find(task: Task | None = None, mode: AssetsMode = "auto") -> ResolvedData:
    return find_data(task or Task(), mode, note=lambda _: None)


def folder_of(path: Path, *names: str) -> Path:
    path.mkdir(parents=True, exist_ok=True)
    for name in names:
        (path / name).write_text("x")
    return path


@pytest.mark.parametrize("mode", ["auto", "hub"])
def test_mrpc_in_the_hubs_cache_resolves_with_its_commit(hub_cache: Path, mode: AssetsMode) -> None:
    snapshot = cache_repo(hub_cache, "datasets--nyu-mll--glue", {**MRPC, "cola/train.parquet": b""})
    found = find(mode=mode)
    assert (found.source, found.layout, found.revision) == ("hub cache", "parquet", COMMIT)
    assert found.files["validation"] == (str(snapshot / "mrpc/validation-00000-of-00001.parquet"),)
    assert (found.name, found.synthetic) == ("glue/mrpc", False)
    assert source_of(Task(), local_data(Task(), mode), mode) == f"Hub cache, commit {COMMIT[:12]}"


def test_a_cached_copy_that_lacks_a_split_counts_as_not_there(hub_cache: Path) -> None:
    cache_repo(hub_cache, "datasets--nyu-mll--glue", {"mrpc/train-00000-of-00001.parquet": b"PAR1"})
    with pytest.raises(UnavailableError, match="not in its cache"):
        find(mode="hub")
    assert find().synthetic


def test_a_cached_copy_that_lacks_a_part_is_not_used_and_the_part_is_named(hub_cache: Path) -> None:
    cache_repo(
        hub_cache,
        "datasets--owner--set",
        {f"data/{name}": b"" for name in [*PARTS[:2], "validation.parquet"]},
    )
    with pytest.raises(UnavailableError, match="split 'train': 00001-of-00003 missing, only 2 of 3 parts"):
        find(OTHER)


def test_hub_mode_with_nothing_cached_and_no_network_says_what_to_do() -> None:
    with pytest.raises(UnavailableError, match=r"nyu-mll/glue: .*cannot be reached") as error:
        find(mode="hub")
    assert error.value.exit_code == 69
    assert "HARNESS_MRPC_DIR" in (error.value.hint or "")


def test_the_embedded_corpus_is_labelled_and_announced(notes: list[str]) -> None:
    found = find_data(Task(), "auto", note=notes.append)
    assert (found.requested, found.name, found.source) == ("glue/mrpc", "embedded/pairs", "embedded")
    assert found.synthetic
    assert any("synthetic" in note for note in notes)
    assert all(Path(file).is_file() for (file,) in found.files.values())


def test_only_mrpc_has_a_stand_in() -> None:
    for mode in ("auto", "embedded"):
        with pytest.raises(UnavailableError) as caught:
            find(OTHER, mode)
        assert "task.data_dir" in (caught.value.hint or "")


@pytest.mark.parametrize("mode", ["auto", "hub", "embedded"])
@pytest.mark.parametrize("task", [OTHER, Task()])
def test_the_folder_that_a_task_names_is_read_in_every_mode(
    tmp_path: Path, task: Task, mode: AssetsMode
) -> None:
    folder = folder_of(tmp_path / "own", "train.csv", "validation.csv")
    named = task.model_copy(update={"data_dir": str(folder)})
    found = find(named, mode)
    assert (found.source, found.name, found.synthetic) == ("folder", task.name, False)
    assert source_of(named, found, mode) == "folder given by task.data_dir, layout files"


def test_the_embedded_mode_ignores_the_folder_in_the_environment(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HARNESS_MRPC_DIR", str(folder_of(tmp_path / "mrpc", *GLUE)))
    assert find(Task(), "embedded").source == "embedded"


def test_the_embedded_corpus_can_be_named_but_not_in_hub_mode() -> None:
    for task in (Task(dataset="embedded/pairs", config=None), Task(dataset="embedded", config="pairs")):
        assert find(task).synthetic
        with pytest.raises(UnavailableError, match="accepts no embedded corpus"):
            find(task, "hub")


@pytest.mark.parametrize(("names", "layout"), [(GLUE, "glue"), (MICROSOFT, "microsoft")])
def test_both_layouts_of_mrpc_are_known_by_their_files(
    tmp_path: Path, names: tuple[str, ...], layout: str
) -> None:
    found = find(Task(data_dir=str(folder_of(tmp_path / "mrpc", *names))))
    assert (found.source, found.layout) == ("folder", layout)
    assert {Path(file).name for (file,) in found.files.values()} == set(names)


def test_a_folder_with_both_layouts_is_read_as_glues(tmp_path: Path) -> None:
    assert find(Task(data_dir=str(folder_of(tmp_path / "both", *GLUE, *MICROSOFT)))).layout == "glue"


def test_the_folder_in_the_environment_is_for_mrpc_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HARNESS_MRPC_DIR", str(folder_of(tmp_path / "mrpc", *GLUE)))
    assert find().source == "folder"
    assert source_of(Task(), find(), "auto") == "folder given by HARNESS_MRPC_DIR, layout glue"
    with pytest.raises(UnavailableError):
        find(OTHER, "hub")
    named = folder_of(tmp_path / "named", *MICROSOFT)
    assert find(Task(data_dir=str(named))).layout == "microsoft"


def test_a_folder_that_was_named_and_is_wrong_is_never_replaced(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(UnavailableError, match=r"task\.data_dir does not exist"):
        find(Task(data_dir=str(tmp_path / "nowhere")))
    monkeypatch.setenv("HARNESS_MRPC_DIR", str(folder_of(tmp_path / "odd", "notes.txt")))
    with pytest.raises(UnavailableError, match=r"no known layout; found notes\.txt") as error:
        find()
    assert "train.tsv" in (error.value.hint or "")


def test_half_of_a_layout_of_mrpc_is_not_read_as_other_files(tmp_path: Path) -> None:
    with pytest.raises(UnavailableError, match=r"no known layout; found train\.tsv"):
        find(Task(data_dir=str(folder_of(tmp_path / "half", "train.tsv"))))


def test_a_file_in_place_of_a_folder_is_named_as_one(tmp_path: Path) -> None:
    file = folder_of(tmp_path, "train.tsv") / "train.tsv"
    with pytest.raises(InvalidInputError, match=r"task\.data_dir names a file, not a folder: .*train\.tsv"):
        find(Task(data_dir=str(file)))


def test_the_home_of_an_unknown_user_is_named() -> None:
    with pytest.raises(InvalidInputError, match=r"task\.data_dir: the home folder of ~no-such-user/x"):
        find(Task(data_dir="~no-such-user/x"))


def test_another_task_reads_one_file_a_split(tmp_path: Path) -> None:
    names = ("train.parquet", "validation.jsonl", "test.tsv", "notes.csv", "notes.tsv")
    found = find(Task(dataset="mine", config=None, data_dir=str(folder_of(tmp_path / "mine", *names))))
    assert found.layout == "files"
    assert {split: Path(file).name for split, (file,) in found.files.items()} == {
        "train": "train.parquet",
        "validation": "validation.jsonl",
        "test": "test.tsv",
    }


def test_a_split_in_two_formats_is_refused_with_both(tmp_path: Path) -> None:
    folder = folder_of(tmp_path / "mine", "train.parquet", "train.csv", "validation.jsonl")
    with pytest.raises(InvalidInputError) as caught:
        find(Task(dataset="mine", config=None, data_dir=str(folder)))
    assert caught.value.message == (
        f"mine: {folder}: split 'train': it has files that end in .parquet and .csv; keep one copy"
    )


def test_a_folder_called_glue_in_the_current_directory_is_neither_read_nor_run(tmp_path: Path) -> None:
    for name in ("glue", "nyu-mll/glue", "mrpc"):
        planted = folder_of(Path(name), *GLUE, "train.parquet", "validation.parquet")
        (planted / "glue.py").write_text(f"open({str(tmp_path / 'ran')!r}, 'w')")
    assert find().source == "embedded"
    with pytest.raises(UnavailableError):
        find(mode="hub")
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize("name", ["glue", "../glue", "a/b/c", "/etc", "x y/z"])
def test_a_data_set_on_the_hub_is_owner_and_name(name: str) -> None:
    with pytest.raises(InvalidInputError):
        find(Task(dataset=name, config="cola"), "hub")


def test_a_data_set_without_config_lies_in_data_or_at_the_top(hub_cache: Path) -> None:
    files = {"data/train-00000-of-00001.parquet": b"", "data/validation-00000-of-00001.parquet": b""}
    cache_repo(hub_cache, "datasets--owner--set", files)
    assert set(find(OTHER).files) == {"train", "validation"}


def test_the_parts_of_a_split_are_taken_in_order_from_the_hubs_cache(hub_cache: Path) -> None:
    names = [*PARTS, "validation.parquet", "test-00000-of-00001-0123456789abcdef.parquet"]
    snapshot = cache_repo(hub_cache, "datasets--owner--set", {f"data/{name}": b"" for name in names})
    assert find(OTHER).files == {
        "test": (str(snapshot / "data" / names[-1]),),
        "train": tuple(str(snapshot / "data" / name) for name in sorted(PARTS)),
        "validation": (str(snapshot / "data/validation.parquet"),),
    }


def test_the_parts_of_a_split_are_taken_in_order_from_a_folder(tmp_path: Path) -> None:
    task = OTHER.model_copy(update={"data_dir": str(folder_of(tmp_path, *PARTS, "validation.csv"))})
    files = find(task).files
    assert [Path(part).name for part in files["train"]] == sorted(PARTS)
    assert [Path(part).name for part in files["validation"]] == ["validation.csv"]


@pytest.mark.parametrize(
    ("names", "problem"),
    [
        (PARTS[:2], "split 'train': 00001-of-00003 missing, only 2 of 3 parts are there"),
        ([*PARTS, "train.parquet"], "are not the parts of one copy"),
        ([*PARTS, "train-00000-of-00002.parquet"], "are not the parts of one copy"),
        (["train-00003-of-00003.parquet", *PARTS[:2]], "are not the parts of one copy"),
    ],
)
def test_a_split_that_lacks_a_part_is_refused_with_the_part(
    tmp_path: Path, names: list[str], problem: str
) -> None:
    task = OTHER.model_copy(update={"data_dir": str(folder_of(tmp_path, *names, "validation.csv"))})
    with pytest.raises(InvalidInputError, match=problem):
        find(task)


@pytest.mark.mrpc
def test_the_real_corpus_is_found(mrpc_dir: Path) -> None:
    assert find(Task(data_dir=str(mrpc_dir)), "hub").layout == "glue"
