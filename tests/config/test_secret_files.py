"""Secret files (reliability row 111): what is refused, and that making one is atomic."""

import os
import stat
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from myim_server.secret_files import SecretRefused, make_secret_once, read_secret


def secret(directory: Path, content: bytes = b"s" * 32, mode: int = 0o600) -> Path:
    path = directory / "secret"
    path.write_bytes(content)
    path.chmod(mode)
    return path


def linked(directory: Path) -> Path:
    link = directory / "link"
    link.symlink_to(secret(directory))
    return link


def dangling(directory: Path) -> Path:
    link = directory / "link"
    link.symlink_to(directory / "nowhere")
    return link


def directory_itself(directory: Path) -> Path:
    (directory / "d").mkdir(mode=0o700)
    return directory / "d"


def named_pipe(directory: Path) -> Path:
    os.mkfifo(directory / "pipe", 0o600)
    return directory / "pipe"


REFUSED: list[tuple[str, Callable[[Path], Path], str]] = [
    ("readable by all", lambda d: secret(d, mode=0o644), "has mode 0644"),
    ("readable by the group", lambda d: secret(d, mode=0o640), "has mode 0640"),
    ("writable by the group", lambda d: secret(d, mode=0o620), "has mode 0620"),
    ("executable by others", lambda d: secret(d, mode=0o601), "has mode 0601"),
    ("a symbolic link", linked, "is a symbolic link"),
    ("a dangling link", dangling, "is a symbolic link"),
    ("a directory", directory_itself, "is not a regular file"),
    ("a named pipe, without waiting for its writer", named_pipe, "is not a regular file"),
    ("missing", lambda d: d / "none", "cannot be read: No such file"),
    ("empty", lambda d: secret(d, b""), "is empty"),
    ("only a line end", lambda d: secret(d, b"\n"), "is empty"),
    ("over 64 KiB", lambda d: secret(d, b"x" * 65537), "larger than 65536"),
]


@pytest.mark.parametrize(("make", "expected"), [case[1:] for case in REFUSED], ids=[case[0] for case in REFUSED])
def test_a_file_that_cannot_be_trusted_is_refused(tmp_path: Path, make: Callable[[Path], Path], expected: str) -> None:
    with pytest.raises(SecretRefused) as caught:
        read_secret(make(tmp_path))
    assert expected in str(caught.value)


def test_a_file_of_another_owner_is_refused(tmp_path: Path) -> None:
    with pytest.raises(SecretRefused, match=f"belongs to user {os.geteuid()}, this process runs as {os.geteuid() + 1}"):
        read_secret(secret(tmp_path), owner=os.geteuid() + 1)


def test_the_content_is_never_in_the_error(tmp_path: Path) -> None:
    with pytest.raises(SecretRefused) as caught:
        read_secret(secret(tmp_path, b"hunter2", 0o644))
    assert "hunter2" not in str(caught.value)


@pytest.mark.parametrize(
    ("content", "expected"),
    [(b"abc\n", b"abc"), (b"abc\r\n", b"abc"), (b"abc\n\n", b"abc\n"), (bytes(31) + b"\n", bytes(31) + b"\n"), (b" a ", b" a ")],
)
def test_an_editors_line_end_is_not_part_of_a_text_but_is_of_random_bytes(tmp_path: Path, content: bytes, expected: bytes) -> None:
    assert read_secret(secret(tmp_path, content)) == expected


def test_a_secret_is_made_for_the_owner_alone_whatever_the_umask(tmp_path: Path) -> None:
    old = os.umask(0)
    try:
        make_secret_once(tmp_path / "new" / "secret", b"abc")
    finally:
        os.umask(old)
    assert stat.S_IMODE((tmp_path / "new" / "secret").stat().st_mode) == 0o600
    assert stat.S_IMODE((tmp_path / "new").stat().st_mode) == 0o700


def test_an_existing_secret_stays(tmp_path: Path) -> None:
    path = secret(tmp_path, b"first")
    assert make_secret_once(path, b"second") == b"first"
    assert path.read_bytes() == b"first"


def test_an_existing_secret_that_others_may_read_is_refused_not_replaced(tmp_path: Path) -> None:
    with pytest.raises(SecretRefused, match="has mode 0644"):
        make_secret_once(secret(tmp_path, mode=0o644), b"new")


def test_all_who_race_get_the_same_secret_and_nothing_else_is_left(tmp_path: Path) -> None:
    path, results = tmp_path / "secret", []
    start = threading.Barrier(8)

    def race(number: int) -> None:
        start.wait()
        results.append(make_secret_once(path, b"%d" % number * 32))

    threads = [threading.Thread(target=race, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(results) == 8
    assert set(results) == {path.read_bytes()}
    assert os.listdir(tmp_path) == ["secret"]


def test_a_place_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(SecretRefused, match="cannot be made"):
        make_secret_once(tmp_path / "file" / "secret", b"abc")
