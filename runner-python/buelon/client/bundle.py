"""The bundle of a script: the script and the files of its folder, named by their content.

Left out are what `.gitignore` and `.bueignore` name, hidden files, virtual environments, Python's and npm's caches, the
data folder, and symbolic links that lead out of the folder.
"""

import hashlib
import os
from collections import Counter
from pathlib import Path
from typing import Callable, Dict, Iterator, List, Mapping, NamedTuple, Optional, Tuple

from buelon.client.errors import BundleError
from buelon.client.ignore import Rules
from buelon.client.settings import Settings

CACHES = ("__pycache__", "node_modules")
"""Folders of these names hold what machines make."""
PATH_BYTES_MAX = 1_024
NOTES_MAX = 10
OFFENDERS_MAX = 5
"""How many of the largest are named when a limit is passed."""


class Limits(NamedTuple):
    """How much may travel with a script."""

    entries: int = 200_000
    files: int = 10_000
    file_bytes: int = 64 << 20
    bytes: int = 256 << 20

    @classmethod
    def of(cls, settings: Settings) -> "Limits":
        """What the settings say."""
        names = ("BUE_BUNDLE_ENTRIES_MAX", "BUE_BUNDLE_FILES_MAX", "BUE_FILE_BYTES_MAX", "BUE_BUNDLE_BYTES_MAX")
        return cls(*(settings.count(name, default) for name, default in zip(names, cls())))


class Entry(NamedTuple):
    """One file of a bundle."""

    path: str
    digest: str
    bytes: int


class Bundle:
    """A script and the files that travel with it."""

    def __init__(self, script: Path, data_dir: Path, limits: Limits) -> None:
        if not script.is_file():
            reason = "it is a folder" if script.is_dir() else "there is no such file"
            raise BundleError(f"cannot read the script {script}: {reason}")
        self.script = script.name
        self.root = script.parent.resolve()
        self.notes: List[str] = []
        """What was left out that somebody may miss, one sentence each."""
        paths = {script.name} | set(self._walk(data_dir.resolve(), limits))
        # Checked before anything is read: a folder of terabytes is refused at once.
        check_limits({path: self._size(path) for path in paths}, limits)
        # Sorted by code points, which is the order of the UTF-8 bytes, too.
        self.files = [self._entry(path) for path in sorted(paths)]
        check_limits({entry.path: entry.bytes for entry in self.files}, limits)

    def manifest(self) -> Dict[str, List[Dict[str, object]]]:
        """The list of files as it travels."""
        return {"files": [entry._asdict() for entry in self.files]}

    def content(self, digest: str) -> bytes:
        """The content with this digest, provided the file is still what it was."""
        path = next(entry.path for entry in self.files if entry.digest == digest)
        content = self._read(path)
        if hashlib.sha256(content).hexdigest() != digest:
            raise BundleError(f"{self.root / path} changed during the upload", "start again")
        return content

    def _entry(self, path: str) -> Entry:
        content = self._read(path)
        return Entry(path, hashlib.sha256(content).hexdigest(), len(content))

    def _read(self, path: str) -> bytes:
        try:
            return (self.root / path).read_bytes()
        except OSError as error:
            raise self._unreadable(path, error) from None

    def _size(self, path: str) -> int:
        try:
            return (self.root / path).stat().st_size
        except OSError as error:
            raise self._unreadable(path, error) from None

    def _unreadable(self, path: str, error: OSError) -> BundleError:
        hint = f"if the script does not need it, name `{Path(path).name}` in a `.bueignore` beside the script"
        return BundleError(f"cannot read {self.root / path}: {error.strerror or error}", hint)

    def _walk(self, data_dir: Path, limits: Limits) -> Iterator[str]:
        rules = Rules(self.root)
        folders = [self.root]
        entries = 0
        while folders:
            folder = folders.pop()
            try:
                rules.enter(folder)
                found = sorted(os.scandir(folder), key=lambda entry: entry.name)
            except OSError as error:
                raise self._unreadable(str(folder), error) from None
            entries += len(found)
            if entries > limits.entries:
                message = f"the script's folder {self.root} holds more than {limits.entries} files and folders"
                raise too_large(message, "BUE_BUNDLE_ENTRIES_MAX")
            for entry in found:
                is_folder = entry.is_dir(follow_symlinks=False)
                if entry.name.startswith(".") or rules.ignores(entry.path, is_folder):
                    continue
                if is_folder:
                    folders += [] if is_made_by_machines(entry, data_dir) else [Path(entry.path)]
                    continue
                path = os.path.relpath(entry.path, self.root)
                why = self._reason_to_leave_out(entry, path)
                if why is None:
                    yield path
                else:
                    self._note(f"left out `{path.encode(errors='replace').decode()}`: {why}")

    def _reason_to_leave_out(self, entry: "os.DirEntry[str]", path: str) -> Optional[str]:
        """Why a file that nobody asked to be ignored does not travel, if so."""
        try:
            travels = len(path.encode()) <= PATH_BYTES_MAX and "\\" not in path
        except UnicodeEncodeError:
            travels = False
        if not travels:
            return "its name cannot travel"
        if entry.is_symlink():
            return self._reason_to_leave_out_link(Path(os.path.realpath(entry.path)))
        return None if entry.is_file() else "it is no ordinary file"

    def _reason_to_leave_out_link(self, target: Path) -> Optional[str]:
        """The content of a file of the folder travels under the link's name; what lies elsewhere or hides does not."""
        if not target.exists():
            return "it is a link that leads nowhere"
        if self.root not in target.parents:
            return "it is a link that leads out of the script's folder"
        if any(part.startswith(".") for part in target.relative_to(self.root).parts):
            return "it is a link to something hidden"
        return None if target.is_file() else "it is a link to something that is no file"

    def _note(self, note: str) -> None:
        if len(self.notes) < NOTES_MAX:
            self.notes.append(note)
        elif len(self.notes) == NOTES_MAX:
            self.notes.append("left out more for such reasons")


def is_made_by_machines(folder: "os.DirEntry[str]", data_dir: Path) -> bool:
    """Caches, virtual environments and the data folder."""
    return folder.name in CACHES or Path(folder.path, "pyvenv.cfg").exists() or Path(folder.path) == data_dir


def check_limits(sizes: Dict[str, int], limits: Limits) -> None:
    """Refuses more than the limits allow, and names the largest offenders."""
    large = {path: size for path, size in sizes.items() if size > limits.file_bytes}
    if large:
        message = f"over the limit of {show_bytes(limits.file_bytes)} a file: {_largest(large, show_bytes)}"
        raise too_large(message, "BUE_FILE_BYTES_MAX")
    if len(sizes) > limits.files:
        message = f"the script's folder holds {len(sizes)} files, the limit is {limits.files}"
        tops = _by_top_folder(sizes, count=True)
        raise too_large(f"{message}: {_largest(tops, lambda number: f'{number} files')}", "BUE_BUNDLE_FILES_MAX")
    total = sum(sizes.values())
    if total > limits.bytes:
        message = f"the script's folder holds {show_bytes(total)}, the limit is {show_bytes(limits.bytes)}"
        tops = _by_top_folder(sizes, count=False)
        raise too_large(f"{message}: {_largest(tops, show_bytes)}", "BUE_BUNDLE_BYTES_MAX")


def too_large(message: str, setting: str) -> BundleError:
    """The error for more than a limit allows."""
    hint = (
        "all files of the script's folder travel with it: name what it does not need in a `.bueignore` beside it "
        f"(as in `.gitignore`), move the script into a folder of its own, or raise {setting} here and on the hub"
    )
    return BundleError(message, hint)


def _by_top_folder(sizes: Dict[str, int], count: bool) -> "Counter[str]":
    sums: "Counter[str]" = Counter()
    for path, size in sizes.items():
        top, slash, _ = path.partition("/")
        sums[top + slash] += 1 if count else size
    return sums


def _largest(sizes: Mapping[str, int], show: Callable[[int], str]) -> str:
    ranked: List[Tuple[str, int]] = sorted(sizes.items(), key=lambda item: (-item[1], item[0]))
    text = ", ".join(f"{name} ({show(size)})" for name, size in ranked[:OFFENDERS_MAX])
    more = len(ranked) - OFFENDERS_MAX
    return f"{text} and {more} more" if more > 0 else text


def show_bytes(size: int) -> str:
    """A size for people."""
    number = float(size)
    for unit in ("bytes", "KiB", "MiB", "GiB"):
        if number < 1024 or unit == "GiB":
            break
        number /= 1024
    return f"{size} bytes" if unit == "bytes" else f"{number:.1f} {unit}"
