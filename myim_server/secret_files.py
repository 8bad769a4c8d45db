"""Secrets as files: read only when nobody else could have read or planted them, made whole or not at all.

Here live the functions that touch such a file, and the check of the directory they lie in; which secrets there are, and what they mean,
is `keys`' and `tickets`' business.
A secret is refused rather than repaired: a file that was readable yesterday is not secret today.
"""

import os
import secrets
import stat
from pathlib import Path

MAX_SECRET_BYTES = 65536


class SecretRefused(Exception):
    """A secret file cannot be trusted; `str()` names the file and the reason, never the content."""

    def __init__(self, path: Path, reason: str) -> None:
        super().__init__(f"{path}: {reason}")
        self.path = path
        self.reason = reason


def read_secret(path: Path, owner: int | None = None) -> bytes:
    """The bytes of a secret file, without a trailing line end.

    `owner` is the user id the file must belong to, by default this process' own. Raises SecretRefused for a missing, empty, oversized or
    irregular file, a symbolic link, another owner, and for any right of group or others (reliability row 111).
    """
    owner = os.geteuid() if owner is None else owner
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK)
    except OSError as error:
        raise SecretRefused(path, _why_not_opened(path, error)) from None
    try:
        _check_status(path, os.fstat(descriptor), owner)
        content = os.read(descriptor, MAX_SECRET_BYTES + 1)
    finally:
        os.close(descriptor)
    if len(content) > MAX_SECRET_BYTES:
        raise SecretRefused(path, f"larger than {MAX_SECRET_BYTES} bytes, that is no secret of ours")
    content = content.removesuffix(b"\n").removesuffix(b"\r") if _is_text(content) else content
    if not content:
        raise SecretRefused(path, "is empty")
    return content


def make_secret_once(path: Path, content: bytes) -> bytes:
    """Writes `content` to a new file of mode 0600 and returns it; where the file exists already, returns what it holds.

    Atomic and durable: processes that race all return the same bytes, and a crash leaves the whole file or none. Raises SecretRefused
    as `read_secret` does, and for a directory that cannot be written.
    """
    if os.path.lexists(path):
        return read_secret(path)
    draft = path.with_name(f".{path.name}.{secrets.token_hex(8)}")
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
        try:
            with os.fdopen(descriptor, "wb") as file:
                file.write(content)
                file.flush()
                os.fsync(file.fileno())
            _link_unless_there(draft, path)
        finally:
            draft.unlink(missing_ok=True)
        _sync_directory(path.parent)
    except OSError as error:
        raise SecretRefused(path, f"cannot be made: {error.strerror}") from None
    return read_secret(path)


def check_directory(path: Path) -> None:
    """Raises SecretRefused for a directory in which others could plant or replace files: of another owner, or writable by others."""
    status = path.stat()
    if status.st_uid != os.geteuid():
        raise SecretRefused(path, f"belongs to user {status.st_uid}, this process runs as {os.geteuid()}")
    if status.st_mode & 0o022:
        raise SecretRefused(path, f"has mode {stat.S_IMODE(status.st_mode):04o}, others may write there; chmod 700")


def _link_unless_there(draft: Path, path: Path) -> None:
    # A rename would replace the file of whoever was faster; a link does not.
    try:
        os.link(draft, path)
    except FileExistsError:
        pass


def _sync_directory(directory: Path) -> None:
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _why_not_opened(path: Path, error: OSError) -> str:
    if path.is_symlink():
        return "is a symbolic link; give the file itself"
    return f"cannot be read: {error.strerror}"


def _check_status(path: Path, status: os.stat_result, owner: int) -> None:
    if not stat.S_ISREG(status.st_mode):
        raise SecretRefused(path, "is not a regular file")
    if status.st_uid != owner:
        raise SecretRefused(path, f"belongs to user {status.st_uid}, this process runs as {owner}")
    if status.st_mode & 0o077:
        raise SecretRefused(path, f"has mode {stat.S_IMODE(status.st_mode):04o}, others may use it; chmod 600")


def _is_text(content: bytes) -> bool:
    # Only a hand-written secret gets a line end from its editor; in 32 random bytes a last 0x0A belongs to the secret.
    return all(0x20 <= byte < 0x7F or byte in b"\r\n\t" for byte in content)
