"""The patterns of `.gitignore` and `.bueignore`, and what they leave out.

As in git: the last pattern that fits decides, `!` takes a path back in, a `/` at the end means folders, one elsewhere
ties the pattern to the file's own folder, `**` crosses folders. The files of deeper folders go before those of outer
ones, and every `.bueignore` before every `.gitignore`.
"""

import re
from pathlib import Path
from typing import Dict, List, NamedTuple, Optional

NAMES = (".bueignore", ".gitignore", ".git/info/exclude")
"""What goes first stands first."""
FILE_BYTES_MAX = 1 << 20


class Rule(NamedTuple):
    """One pattern."""

    pattern: "re.Pattern[str]"
    folders_only: bool
    ignores: bool


class Rules:
    """The patterns of all ignore files that count for a tree, read as its folders are entered.

    Above the tree they count as far as its repository goes, as they do for git.
    """

    def __init__(self, root: Path) -> None:
        self._rules: Dict[str, Dict[str, List[Rule]]] = {name: {} for name in NAMES}
        above = list(root.parents)
        repositories = [place for place, folder in enumerate([root, *above]) if (folder / ".git").exists()]
        for folder in above[: repositories[0]] if repositories else []:
            self.enter(folder)

    def enter(self, folder: Path) -> None:
        """Reads the ignore files of a folder."""
        for name in NAMES:
            path = folder / name
            if path.is_file():
                with open(path, encoding="utf-8", errors="replace") as file:
                    rules = [parse_rule(line) for line in file.read(FILE_BYTES_MAX).splitlines()]
                self._rules[name][str(folder)] = [rule for rule in rules if rule]

    def ignores(self, path: str, is_folder: bool) -> bool:
        """Whether an absolute path is left out. Its folders are not, or nobody would ask."""
        for name in NAMES:
            decision = self._decision(self._rules[name], path, is_folder)
            if decision is not None:
                return decision
        return False

    @staticmethod
    def _decision(rules: Dict[str, List[Rule]], path: str, is_folder: bool) -> Optional[bool]:
        folder = path
        while folder:
            folder = folder.rpartition("/")[0]
            for rule in reversed(rules.get(folder or "/", [])):
                if (is_folder or not rule.folders_only) and rule.pattern.fullmatch(path, len(folder) + 1):
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
    text = text[:-1] if folders_only else text
    tied = "/" in text
    text = text[1:] if text.startswith("/") else text
    if not text:
        return None
    try:
        return Rule(re.compile(("" if tied else "(?:.*/)?") + _translate(text), re.DOTALL), folders_only, ignores)
    except re.error:
        # Such as a class that is never closed, which fits nothing in git, too.
        return None


def _translate(text: str) -> str:
    """The regular expression of a pattern. `*` and `?` stay inside one folder, `**/` and `/**` cross them."""
    text = re.sub(r"\*{3,}", "**", text)
    if text == "**":
        return ".*"
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
    if token == "[":
        raise re.error("a class that is never closed")
    if token.startswith("["):
        inner = token[1:-1].replace("\\", "\\\\").replace("[", "\\[")
        return "(?!/)[" + ("^" + inner[1:] if inner.startswith("!") else inner.replace("^", "\\^")) + "]"
    return re.escape(token[1:] if token.startswith("\\") and len(token) > 1 else token)
