"""Where the hub is, its token, and the client's limits: arguments, else the environment, else `.env`, else defaults.

The names and the order are those of the command line. `.env` is read from the current folder and never put into the
environment.
"""

import os
import re
from pathlib import Path
from typing import Dict, Mapping, NamedTuple, Optional, Tuple

from buelon.client.errors import SettingError

DEFAULT_HOST = "127.0.0.1"
DEFAULT_PORT = 65432
ENV_FILE_BYTES_MAX = 1 << 20
EVERY_ADDRESS = {"0.0.0.0": "127.0.0.1", "::": "::1"}
"""Where a service that listens on every address is reached on its own machine."""

ADDRESS = re.compile(
    r"(?:\[(?P<bracketed>[0-9A-Za-z:.%]+)\]|(?P<name>[\w.%-]+))(?::(?P<port>[0-9]{1,5}))?"
    r"|(?P<bare>[0-9A-Fa-f]*:[0-9A-Fa-f]*:[0-9A-Fa-f:.%]*)"
)
"""A name or an IP address; an IPv6 address stands in brackets where a port follows."""

UNITS = {"": 1, "B": 1, "K": 1 << 10, "KiB": 1 << 10, "M": 1 << 20, "MiB": 1 << 20, "G": 1 << 30, "GiB": 1 << 30}


class Address(NamedTuple):
    """Host (without brackets) and port of a hub."""

    host: str
    port: int

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


class Settings:
    """What the environment and a `.env` say."""

    def __init__(self, environment: Mapping[str, str], file: Mapping[str, str], folder: Path) -> None:
        self._sources = ((environment, "the environment"), (file, str(folder / ".env")))
        self._folder = folder

    @classmethod
    def load(cls) -> "Settings":
        """The settings of this process, started in its current folder."""
        folder = Path.cwd()
        return cls(os.environ, read_env_file(folder / ".env"), folder)

    def _find(self, name: str) -> Tuple[Optional[str], str]:
        for values, origin in self._sources:
            text = values.get(name, "").strip()
            if text:
                return text, origin
        return None, ""

    def get(self, name: str) -> Optional[str]:
        """The text of a setting; an empty one is none."""
        return self._find(name)[0]

    def count(self, name: str, default: int) -> int:
        """A number of things or bytes, such as `4096` or `64MiB`."""
        text, origin = self._find(name)
        if text is None:
            return default
        match = re.fullmatch(r"([0-9]+)\s*([A-Za-z]*)", text)
        number = int(match[1]) * UNITS[match[2]] if match and match[2] in UNITS else 0
        if number < 1:
            expected = "a whole number from 1 on, such as 4096 or 64MiB"
            raise SettingError(f"{name} from {origin} is `{text}`, expected {expected}")
        return number

    def data_dir(self) -> Path:
        """The folder of all state."""
        return self._folder / (self.get("BUE_DATA_DIR") or ".bue")

    def token(self) -> Optional[str]:
        """BUE_TOKEN, else what the hub on this machine keeps in its data folder.

        Read anew with each call, for the hub may make it later.
        """
        token = self.get("BUE_TOKEN")
        if token is None:
            try:
                token = (self.data_dir() / "hub" / "token").read_text(encoding="utf-8").strip() or None
            except (OSError, UnicodeDecodeError):
                return None
        if token is not None and not re.fullmatch(r"[!-~]{8,512}", token):
            raise SettingError(
                "the hub's token is not usable, expected 8 to 512 visible ASCII characters without blanks"
            )
        return token

    def hub(self, argument: Optional[str]) -> Address:
        """Where the hub is.

        The argument says it, else PIPELINE_HOST and PIPELINE_PORT, else what a hub on this machine noted in its data
        folder, else the default.
        """
        if argument is not None:
            address = parse_address(argument, "hub")
        else:
            address = self._named_hub() or self._noted_hub() or Address(DEFAULT_HOST, DEFAULT_PORT)
        if address.port == 0:
            raise SettingError("the hub's port is 0", "port 0 is for services: they take any free port and print it")
        return Address(EVERY_ADDRESS.get(address.host, address.host), address.port)

    def _named_hub(self) -> Optional[Address]:
        host, host_origin = self._find("PIPELINE_HOST")
        port, port_origin = self._find("PIPELINE_PORT")
        if host is None and port is None:
            return None
        if host is not None:
            host = parse_address(host, f"PIPELINE_HOST from {host_origin}").host
        if port is not None and not (re.fullmatch("[0-9]+", port) and int(port) <= 65535):
            raise SettingError(f"PIPELINE_PORT from {port_origin} is `{port}`, expected a port (0 to 65535)")
        return Address(host or DEFAULT_HOST, DEFAULT_PORT if port is None else int(port))

    def _noted_hub(self) -> Optional[Address]:
        try:
            text = (self.data_dir() / "hub" / "address").read_text(encoding="utf-8").strip()
            return parse_address(text, "the noted address")
        except (OSError, UnicodeDecodeError, SettingError):
            return None


def parse_address(text: str, what: str) -> Address:
    """`host`, `host:port`, `[::1]:port`, each also with `http://` before it."""
    bare = text[len("http://") :] if text.startswith("http://") else text
    match = ADDRESS.fullmatch(bare[:-1] if bare.endswith("/") else bare)
    port = int(match["port"] or DEFAULT_PORT) if match else -1
    if not match or port > 65535:
        raise SettingError(f"{what} is `{text[:80]}`, expected `host:port`, such as `localhost:{DEFAULT_PORT}`")
    return Address(match["bracketed"] or match["name"] or match["bare"], port)


def read_env_file(path: Path) -> Dict[str, str]:
    """The settings of a `.env`: `NAME=value` lines, values in quotes or not, `#` comments, an optional `export`."""
    try:
        if not path.is_file():
            return {}
        with open(path, encoding="utf-8") as file:
            text = file.read(ENV_FILE_BYTES_MAX + 1)
    except (OSError, UnicodeDecodeError) as error:
        raise SettingError(f"cannot read settings from {path}: {error}") from None
    if len(text) > ENV_FILE_BYTES_MAX:
        raise SettingError(f"cannot read settings from {path}: it is larger than {ENV_FILE_BYTES_MAX} bytes")
    values = {}
    for line in text.splitlines():
        if line.strip() and not line.lstrip().startswith("#"):
            name, value = _parse_line(line, path)
            values[name] = value
    return values


def _parse_line(line: str, path: Path) -> Tuple[str, str]:
    match = re.fullmatch(
        r"""\s*(?:export\s+)?([A-Za-z_][\w.]*)\s*=\s*(?:'([^']*)'|"((?:[^"\\]|\\.)*)"|([^\s'"#]*))\s*(?:\#.*)?""", line
    )
    if not match:
        # Only the name is shown: the value may be a secret.
        name = line.split("=")[0].strip()[:40]
        raise SettingError(
            f"cannot read settings from {path}: the line that begins with `{name}` is not of the form NAME=value",
            "quote values with blanks",
        )
    name, single, double, plain = match.groups()
    if double is not None:
        return name, re.sub(r"\\(.)", lambda escape: {"n": "\n", "t": "\t"}.get(escape[1], escape[1]), double)
    return name, single if single is not None else plain
