"""Where the client finds the hub and its token."""

from pathlib import Path
from typing import Dict

import pytest

from buelon.client.errors import SettingError
from buelon.client.settings import Settings, parse_address, read_env_file

HERE = Path("/nonexistent/here")


def settings(environment: Dict[str, str], file: Dict[str, str], folder: Path = HERE) -> Settings:
    return Settings(environment, file, folder)


def test_the_argument_beats_the_environment_beats_the_file_beats_the_default() -> None:
    environment, file = {"PIPELINE_PORT": "2"}, {"PIPELINE_PORT": "3", "PIPELINE_HOST": "hub.internal"}
    assert str(settings(environment, file).hub("elsewhere:1")) == "elsewhere:1"
    assert str(settings(environment, file).hub(None)) == "hub.internal:2"
    assert str(settings({"PIPELINE_PORT": " "}, file).hub(None)) == "hub.internal:3"
    assert str(settings({}, {}).hub(None)) == "127.0.0.1:65432"


def test_a_hub_that_listens_everywhere_is_reached_by_loopback() -> None:
    assert str(settings({"PIPELINE_HOST": "0.0.0.0"}, {}).hub(None)) == "127.0.0.1:65432"
    assert str(settings({}, {}).hub("[::]:7")) == "[::1]:7"


def test_what_a_running_hub_noted_is_found(tmp_path: Path) -> None:
    (tmp_path / ".bue" / "hub").mkdir(parents=True)
    (tmp_path / ".bue" / "hub" / "address").write_text("127.0.0.1:4711\n")
    assert settings({}, {}, tmp_path).hub(None).port == 4711
    assert settings({"PIPELINE_PORT": "5"}, {}, tmp_path).hub(None).port == 5
    assert settings({"BUE_DATA_DIR": "other"}, {}, tmp_path).hub(None).port == 65432


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("localhost", "localhost:65432"),
        ("localhost:1", "localhost:1"),
        ("http://10.0.0.1:80/", "10.0.0.1:80"),
        ("[::1]:80", "[::1]:80"),
        ("::1", "[::1]:65432"),
    ],
)
def test_an_address_reads_with_and_without_its_port(text: str, expected: str) -> None:
    assert str(parse_address(text, "hub")) == expected


@pytest.mark.parametrize("text", ["", ":80", "host:", "host:port", "host:70000", "a b:1", "[::1", "s3://x/y", "h:1/p"])
def test_what_is_no_address_is_refused_by_name(text: str) -> None:
    with pytest.raises(SettingError) as caught:
        parse_address(text, "hub")
    assert f"`{text}`" in caught.value.message


@pytest.mark.parametrize("port", ["eighty", "70000", "-1", "0"])
def test_a_malformed_port_is_an_error(port: str) -> None:
    with pytest.raises(SettingError, match="port|PIPELINE_PORT"):
        settings({"PIPELINE_PORT": port}, {}).hub(None)


def test_a_malformed_value_names_the_variable_its_origin_and_what_was_expected() -> None:
    with pytest.raises(SettingError) as caught:
        settings({}, {"BUE_FILE_BYTES_MAX": "lots"}).count("BUE_FILE_BYTES_MAX", 1)
    assert caught.value.message == (
        f"BUE_FILE_BYTES_MAX from {HERE}/.env is `lots`, expected a whole number from 1 on, such as 4096 or 64MiB"
    )
    assert settings({"X": "2MiB"}, {}).count("X", 1) == 2 << 20
    assert settings({}, {}).count("X", 7) == 7


def test_the_token_is_that_of_the_environment_else_that_of_the_data_folder(tmp_path: Path) -> None:
    here = settings({}, {}, tmp_path)
    assert here.token() is None
    (tmp_path / ".bue" / "hub").mkdir(parents=True)
    (tmp_path / ".bue" / "hub" / "token").write_text("made-later\n")
    assert here.token() == "made-later", "a token that is made later is found"
    assert settings({"BUE_TOKEN": "of-the-environment"}, {}, tmp_path).token() == "of-the-environment"
    assert settings({"BUE_DATA_DIR": str(tmp_path / ".bue")}, {}).token() == "made-later"


def test_an_unusable_token_is_not_shown_by_its_error() -> None:
    with pytest.raises(SettingError) as caught:
        settings({"BUE_TOKEN": "my secret\u2028token"}, {}).token()
    assert "secret" not in str(caught.value)


def test_an_env_file_is_read_with_comments_quotes_and_export(tmp_path: Path) -> None:
    path = tmp_path / ".env"
    path.write_text(
        '# comment\n\nA=1\nexport B = two # why\nC=\'a b # c\'\nD="x\\"y\\n"\nE=\nF=a=b\n  G=s3://x/y?z=1\n',
        encoding="utf-8",
    )
    assert read_env_file(path) == {
        "A": "1",
        "B": "two",
        "C": "a b # c",
        "D": 'x"y\n',
        "E": "",
        "F": "a=b",
        "G": "s3://x/y?z=1",
    }
    assert read_env_file(tmp_path / "nothing") == {}


@pytest.mark.parametrize("line", ["BUE_TOKEN=a b c", "BUE_TOKEN 5", "BUE_TOKEN='open"])
def test_a_wrong_line_of_an_env_file_is_named_without_its_value(tmp_path: Path, line: str) -> None:
    (tmp_path / ".env").write_text(line + "\n")
    with pytest.raises(SettingError) as caught:
        read_env_file(tmp_path / ".env")
    assert "`BUE_TOKEN" in caught.value.message and "a b c" not in caught.value.message


def test_the_template_of_bue_example_is_read_and_sets_nothing() -> None:
    template = Path(__file__).parents[3] / "src" / "templates" / "env"
    assert read_env_file(template) == {}
    live = "\n".join(line[2:] for line in template.read_text().splitlines() if line.startswith("# ") and "=" in line)
    assert "PIPE_WORKER_SCOPES=" in live and "BUE_DATA_DIR=" in live
