"""Which files travel with a script."""

import hashlib
import os
from pathlib import Path
from typing import Any, List, Optional

import pytest

from buelon.client.bundle import Bundle, Limits
from buelon.client.errors import BundleError


def write(folder: Path, *paths: str, text: Optional[str] = None) -> None:
    for path in paths:
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_text(path if text is None else text, encoding="utf-8")


def bundle(folder: Path, **limits: int) -> Bundle:
    return Bundle(folder / "x.bue", folder / "state", Limits(**limits))


def paths(folder: Path) -> List[str]:
    return [entry.path for entry in bundle(folder).files]


def test_the_script_and_the_files_of_its_folder_travel_sorted_and_named_by_content(tmp_path: Path) -> None:
    write(tmp_path, "x.bue", "b/c.py", "b.py", "a ü.txt", "B.py", "b/d/e.csv")
    found = bundle(tmp_path)
    assert [entry.path for entry in found.files] == ["B.py", "a ü.txt", "b.py", "b/c.py", "b/d/e.csv", "x.bue"]
    digest = hashlib.sha256(b"b/c.py").hexdigest()
    assert found.manifest()["files"][3] == {"path": "b/c.py", "digest": digest, "bytes": 6}
    assert found.script == "x.bue" and found.content(digest) == b"b/c.py" and found.notes == []


def test_what_is_hidden_or_made_by_machines_stays(tmp_path: Path) -> None:
    write(tmp_path, "x.bue", ".env", ".git/config", "sub/.secret", "__pycache__/x.pyc", "node_modules/a/b.js")
    write(tmp_path, "venv/pyvenv.cfg", "venv/lib/x.py", "state/hub/token", "sub/state/kept.txt", "sub/kept.py")
    assert paths(tmp_path) == ["sub/kept.py", "sub/state/kept.txt", "x.bue"]


def test_ignore_files_are_read_as_git_reads_them(tmp_path: Path) -> None:
    write(
        tmp_path,
        ".gitignore",
        text="*.log\n!keep.log\n/top.txt\nbuild/\ndocs/**/draft.md\n# c\n\\#odd\n**/deep/x\na/**\n",
    )
    write(tmp_path, "sub/.gitignore", text="!again.log\n*.tmp\n")
    write(tmp_path, "x.bue", "a.log", "keep.log", "top.txt", "sub/top.txt", "build/o", "sub/build/o", "sub/again.log")
    write(tmp_path, "docs/draft.md", "docs/1/2/draft.md", "docs/1/final.md", "#odd", "q/deep/x", "q/deep/y", "a/b/c")
    write(tmp_path, "sub/one.tmp", "one.tmp", "sub/build2/o")
    assert paths(tmp_path) == [
        *["docs/1/final.md", "keep.log", "one.tmp", "q/deep/y", "sub/again.log", "sub/build2/o", "sub/top.txt", "x.bue"]
    ]


@pytest.mark.parametrize(
    ("pattern", "ignored", "kept"),
    [
        ("*.py[co]", "a.pyc", "a.py"),
        ("[!a].txt", "b.txt", "a.txt"),
        ("[a-c]?", "b1", "d1"),
        ("[]x]", "]", "y"),
        ("a\\*", "a*", "ab"),
        ("a+(b).txt", "a+(b).txt", "aab.txt"),
        ("sp\\ ", "sp ", "sp"),
        ("data/*.csv", "data/a.csv", "data/b/a.csv"),
        ("*/o.txt", "p/o.txt", "p/q/o.txt"),
        ("a**b", "axxb", "a/xb"),
        ("open[", "", "open["),
    ],
)
def test_a_pattern_fits_what_it_says(tmp_path: Path, pattern: str, ignored: str, kept: str) -> None:
    write(tmp_path, ".bueignore", text=pattern + "\n")
    write(tmp_path, "x.bue", kept, *([ignored] if ignored else []))
    assert paths(tmp_path) == sorted([kept, "x.bue"])


def test_a_bueignore_goes_before_every_gitignore(tmp_path: Path) -> None:
    write(tmp_path, ".gitignore", text="*.csv\n")
    write(tmp_path, ".bueignore", text="!needed.csv\nnotes/\n")
    write(tmp_path, "sub/.gitignore", text="needed.csv\n")
    write(tmp_path, "x.bue", "needed.csv", "other.csv", "sub/needed.csv", "notes/n.md")
    assert paths(tmp_path) == ["needed.csv", "sub/needed.csv", "x.bue"]


def test_ignore_files_above_the_folder_count_as_far_as_its_repository_goes(tmp_path: Path) -> None:
    write(tmp_path, ".gitignore", text="*.py\n")
    write(tmp_path, "repository/.gitignore", text="*.csv\n")
    write(tmp_path, "repository/.git/info/exclude", text="*.md\n")
    write(tmp_path, "repository/a/x.bue", "repository/a/s.py", "repository/a/d.csv", "repository/a/n.md")
    write(tmp_path, "elsewhere/x.bue", "elsewhere/d.py")
    assert paths(tmp_path / "repository" / "a") == ["s.py", "x.bue"]
    assert paths(tmp_path / "elsewhere") == ["d.py", "x.bue"]


def test_the_script_travels_even_when_it_is_ignored(tmp_path: Path) -> None:
    write(tmp_path, ".gitignore", text="*\n")
    write(tmp_path, "x.bue", "y.bue")
    assert paths(tmp_path) == ["x.bue"]


def test_a_link_travels_only_as_a_file_of_the_folder_that_is_not_hidden(tmp_path: Path) -> None:
    write(tmp_path, "f/x.bue", "f/a.py", "f/.env", "f/d/e", "outside.txt")
    root = tmp_path / "f"
    for name, target in {"in.py": "a.py", "out": "../outside.txt", "env": ".env", "dir": "d", "dead": "no"}.items():
        (root / name).symlink_to(target)
    os.mkfifo(root / "pipe")
    found = bundle(root)
    assert [entry.path for entry in found.files] == ["a.py", "d/e", "in.py", "x.bue"]
    assert len(found.notes) == 5
    notes = "\n".join(found.notes)
    for part in ["`out`: it is a link that leads out", "`env`: it is a link to something hidden", "`pipe`: it is no"]:
        assert part in notes


def test_the_notes_are_bounded(tmp_path: Path) -> None:
    write(tmp_path, "x.bue")
    for number in range(30):
        (tmp_path / f"link{number}").symlink_to("nowhere")
    assert len(bundle(tmp_path).notes) == 11


@pytest.mark.parametrize(
    ("limits", "setting", "parts"),
    [
        ({"file_bytes": 3_999}, "BUE_FILE_BYTES_MAX", ["data/a (4.9 KiB), big.bin (3.9 KiB)"]),
        ({"files": 3}, "BUE_BUNDLE_FILES_MAX", ["holds 4 files, the limit is 3", "data/ (2 files)"]),
        ({"bytes": 11_999}, "BUE_BUNDLE_BYTES_MAX", ["data/ (7.8 KiB), big.bin (3.9 KiB)"]),
        ({"entries": 3}, "BUE_BUNDLE_ENTRIES_MAX", ["more than 3 files and folders"]),
    ],
)
def test_each_limit_names_its_setting_and_the_largest_offenders(
    tmp_path: Path, limits: Any, setting: str, parts: List[str]
) -> None:
    write(tmp_path, "x.bue", text="x")
    write(tmp_path, "data/a", text="a" * 5_000)
    write(tmp_path, "data/b", text="b" * 3_000)
    write(tmp_path, "big.bin", text="c" * 4_000)
    with pytest.raises(BundleError) as caught:
        bundle(tmp_path, **limits)
    assert setting in str(caught.value.hint) and ".bueignore" in str(caught.value.hint)
    assert [part for part in parts if part not in caught.value.message] == [], caught.value.message


def test_a_missing_script_and_a_folder_are_named(tmp_path: Path) -> None:
    with pytest.raises(BundleError, match="x.bue: there is no such file"):
        bundle(tmp_path)
    (tmp_path / "x.bue").mkdir()
    with pytest.raises(BundleError, match="x.bue: it is a folder"):
        bundle(tmp_path)


def test_a_file_that_changes_during_the_upload_is_named(tmp_path: Path) -> None:
    write(tmp_path, "x.bue")
    found = bundle(tmp_path)
    write(tmp_path, "x.bue", text="changed")
    with pytest.raises(BundleError, match="x.bue changed during the upload"):
        found.content(found.files[0].digest)
