"""The file as a file (reliability row 109): each way it can be wrong, with the line and the nearest key."""

from pathlib import Path

import pytest

from myim_server.config import ConfigError, known_keys, load_config
from myim_server.config_file import read_config_file
from myim_server.config_sections import Address, Config

REPOSITORY = Path(__file__).resolve().parents[2]


def problems_of(path: Path) -> list[str]:
    with pytest.raises(ConfigError) as caught:
        load_config(path, {})
    return caught.value.problems


def problems_in(tmp_path: Path, content: bytes) -> list[str]:
    path = tmp_path / "myim.yaml"
    path.write_bytes(content)
    return [problem.removeprefix(str(path)) for problem in problems_of(path)]


WRONG_FILES = [
    ("empty", b"", ": is empty"),
    ("only comments", b"# nothing\n", ": is empty"),
    ("a list", b"- center\n", ":1: must hold sections"),
    ("a word", b"\ncenter\n", ":2: must hold sections"),
    ("binary with NUL", b"center:\n  priority: \x00\n", ":2: is binary"),
    ("ELF", b"\x7fELF\x02\x01\x01\xff\xfe", ":1: is not UTF-8"),
    ("Latin-1 in line 3", b"center:\n  priority: 1\n# \xe9\n", ":3: is not UTF-8"),
    ("control characters", b"center:\n  priority: \x07\n", ": is not YAML"),
    ("over 1 MiB", b"# " + b"x" * (1 << 20), ": is larger than 1048576 bytes"),
    ("a key twice", b"center:\n  priority: 1\n  priority: 2\n", ":3: has center.priority twice; the first is in line 2"),
    ("a section twice", b"center:\n  priority: 1\nlogin:\ncenter:\n", ":4: has center twice; the first is in line 1"),
    ("unclosed bracket", b"node:\n  roles: [login\nlogin:\n", ":3: is not YAML"),
    ("tab for indent", b"node:\n\troles: [login]\n", ":2: is not YAML"),
    ("a typo in a key", b"center:\n\n  priorty: 5\n", ":3: center.priorty: there is no such key; did you mean center.priority?"),
    ("a typo in a section", b"login:\ncentre:\n  priority: 5\n", ":2: centre: there is no such key; did you mean center?"),
    (
        "a key in the wrong section",
        b"center:\n  sweep_seconds: 5\n",
        ":2: center.sweep_seconds: there is no such key; did you mean delivery.sweep_seconds?",
    ),
    ("a key at the top", b"priority: 5\n", ":1: priority: there is no such key; did you mean"),
    ("a section that is a value", b"center: 5\n", ":1: center: must be a section with keys below it"),
    ("a section that is a list", b"center: [5]\n", ":1: center: must be a section with keys below it"),
    ("a number as key", b"center:\n  5: 6\n", ":2: has a key that is no name"),
    ("null as key", b"center:\n  ~: 6\n", ":2: has a key that is no name"),
    ("a list as key", b"center:\n  ? [a, b]\n  : 6\n", ":2: has a key that is no name"),
    ("an alias", b"center: &c\n  priority: 1\nlogin: *c\n", ":1: uses an alias"),
    ("a tag that builds objects", b"center:\n  priority: !!python/object/apply:os.getpid []\n", ":2: center.priority: "),
    ("an unknown tag", b"center:\n  priority: !secret 5\n", ":2: has a value that cannot be read"),
    ("a merge key", b"center:\n  <<: {priority: 5}\n", ":2: has a value that cannot be read"),
    ("nested without end", b"center: " + b"[" * 10_000, ": is nested deeper than"),
    ("nested ten deep", b"center: " + b"[" * 10 + b"]" * 10, ":1: is nested deeper than"),
    ("an impossible date", b"log:\n  level: 2024-13-45\n", ":2: has a value that cannot be read"),
]


@pytest.mark.parametrize(("content", "expected"), [case[1:] for case in WRONG_FILES], ids=[case[0] for case in WRONG_FILES])
def test_a_wrong_file_is_refused_with_its_line(tmp_path: Path, content: bytes, expected: str) -> None:
    assert problems_in(tmp_path, content)[0].startswith(expected)


def test_a_missing_file_is_refused_by_name(tmp_path: Path) -> None:
    path = tmp_path / "no such.yaml"
    assert problems_of(path) == [f"{path}: cannot be read: No such file or directory"]


def test_a_directory_is_refused(tmp_path: Path) -> None:
    assert problems_of(tmp_path) == [f"{tmp_path}: is a directory"]


def test_a_hundred_megabytes_are_refused_without_reading_them(tmp_path: Path) -> None:
    path = tmp_path / "myim.yaml"
    with path.open("wb") as file:
        file.truncate(100 << 20)
    assert "larger than" in problems_of(path)[0]


@pytest.mark.parametrize("name", ["an empty name", "emoji 🐧.yaml", "-rf", " lead", "a\nb"])
def test_any_file_name_works(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    path.write_text("center:\n  priority: 5\n")
    assert load_config(path, {}).center.priority == 5


def test_a_name_with_a_nul_is_refused() -> None:
    assert "cannot be read" in problems_of(Path("a\0b"))[0]


def test_a_byte_order_mark_and_crlf_change_neither_values_nor_lines(tmp_path: Path) -> None:
    text = b"\xef\xbb\xbfcenter:\r\n  priority: 5\r\n  idle_ping_seconds: 3\r\n"
    path = tmp_path / "myim.yaml"
    path.write_bytes(text)
    assert load_config(path, {}).center.priority == 5
    assert problems_in(tmp_path, text + b"  oops: 1\r\n")[0].startswith(":4: center.oops")


def test_a_section_with_all_lines_commented_out_keeps_its_defaults(tmp_path: Path) -> None:
    path = tmp_path / "myim.yaml"
    path.write_text("center:\n  # priority: 5\nlogin:\n  password_queue: 7\n")
    config = load_config(path, {})
    assert (config.center, config.login.password_queue) == (Config().center, 7)


def test_all_problems_are_told_at_once(tmp_path: Path) -> None:
    found = problems_in(tmp_path, b"center:\n  priority: -1\n  nonsense: 1\nlog:\n  level: loud\n")
    assert [problem.split(":")[1] for problem in found] == ["2", "3", "5"]


def test_the_shipped_file_equals_the_defaults() -> None:
    assert load_config(REPOSITORY / "myim.yaml", {}) == Config()


def test_the_shipped_file_names_every_value_in_the_code_s_order() -> None:
    shipped = [".".join(path) for path in read_config_file(REPOSITORY / "myim.yaml").lines if len(path) == 2]
    assert shipped == list(known_keys())


def test_every_value_of_the_shipped_file_has_a_comment() -> None:
    lines = (REPOSITORY / "myim.yaml").read_text().splitlines()
    assert [line for line in lines if line.startswith("  ") and "  # " not in line] == []


def test_no_file_means_defaults() -> None:
    assert load_config(None, {}).center.listen == Address("127.0.0.1", 7401)
