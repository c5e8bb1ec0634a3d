"""The patterns of `.gitignore` and `.bueignore`, and what they leave out.

As in git: the last pattern that fits decides, `!` takes a path back in, a `/` at the end means folders, one elsewhere
ties the pattern to the file's own folder, `**` crosses folders. The files of deeper folders go before those of outer
ones, and every `.bueignore` before every `.gitignore`.
"""

import re
from pathlib import Path
from typing import Dict, List, NamedTuple, Optional

NAMES = (".bueignore", ".gitignore")
FILE_BYTES_MAX = 1 << 20


class Rule(NamedTuple):
    """One pattern."""

    pattern: "re.Pattern[str]"
    folders_only: bool
    ignores: bool


class Rules:
    """The patterns of all ignore files of a tree, read as its folders are entered."""

    def __init__(self) -> None:
        self._rules: Dict[str, Dict[str, List[Rule]]] = {name: {} for name in NAMES}

    def enter(self, folder: Path, relative: str) -> None:
        """Reads the ignore files of a folder; `relative` is its path in the tree, empty for the root."""
        for name in NAMES:
            path = folder / name
            if path.is_file():
                with open(path, encoding="utf-8", errors="replace") as file:
                    rules = [parse_rule(line) for line in file.read(FILE_BYTES_MAX).splitlines()]
                self._rules[name][relative] = [rule for rule in rules if rule]

    def ignores(self, relative: str, is_folder: bool) -> bool:
        """Whether a path of the tree is left out. Its folders are not, or nobody would ask."""
        return any(self._decision(name, relative, is_folder) is True for name in self._deciding(relative, is_folder))

    def _deciding(self, relative: str, is_folder: bool) -> List[str]:
        """The kind of ignore file that has something to say about a path, if any."""
        return [name for name in NAMES if self._decision(name, relative, is_folder) is not None][:1]

    def _decision(self, name: str, relative: str, is_folder: bool) -> Optional[bool]:
        rules = self._rules[name]
        folder = relative
        while folder:
            folder = folder.rpartition("/")[0]
            inner = relative[len(folder) + 1 :] if folder else relative
            for rule in reversed(rules.get(folder, [])):
                if (is_folder or not rule.folders_only) and rule.pattern.fullmatch(inner):
                    return rule.ignores
        return None


def parse_rule(line: str) -> Optional[Rule]:
    """The rule that a line of an ignore file says, if any."""
    # A blank at the end counts only behind a backslash.
    text = re.sub(r"(?<!\\)\s+$", "", line)
    if not text or text.startswith("#"):
        return None
    ignores = not text.startswith("!")
    text = text if ignores else text[1:]
    folders_only = text.endswith("/")
    text = text.rstrip("/") if folders_only else text
    tied = "/" in text
    text = text.lstrip("/")
    if not text:
        return None
    try:
        return Rule(re.compile(("" if tied else "(?:.*/)?") + _translate(text), re.DOTALL), folders_only, ignores)
    except re.error:
        # Such as a class that is never closed: git takes it as matching nothing, too.
        return None


def _translate(text: str) -> str:
    """The regular expression of a pattern. `*` and `?` stay inside one folder, `**/` and `/**` cross them."""
    parts = []
    place = 0
    while place < len(text):
        match = re.compile(r"\*\*/|/\*\*/|/\*\*$|\*+|\?|\[!?\]?[^\]]*\]|\\.|.", re.DOTALL).match(text, place)
        assert match
        parts.append(_translate_token(match[0], at_begin=place == 0))
        place = match.end()
    return "".join(parts)


def _translate_token(token: str, at_begin: bool) -> str:
    if token == "**/" and at_begin:
        return "(?:.*/)?"
    if token == "/**/":
        return "/(?:.*/)?"
    if token == "/**":
        return "/.*"
    if token == "**/":
        return "[^/]*/"
    if token.startswith("*"):
        return "[^/]*"
    if token == "?":
        return "[^/]"
    if token.startswith("[") and len(token) > 1:
        inner = token[1:-1].replace("\\", "\\\\").replace("[", "\\[")
        return "(?!/)[" + ("^" + inner[1:] if inner.startswith("!") else inner.replace("^", "\\^")) + "]"
    return re.escape(token[1:] if token.startswith("\\") and len(token) > 1 else token)
