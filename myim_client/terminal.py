"""The terminal: its secret, its fingerprint, the pinned login centers, and where the profiles of its users lie.

All users of one terminal share its key pair, which is made of a random secret kept here and the machine's fingerprint, gathered
anew at every start: a copied directory does not work elsewhere [P-4.1].
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import json
import os
import platform
import re
import secrets
import stat
import unicodedata
import urllib.parse
from collections.abc import Iterator
from pathlib import Path

from myim_client.addresses import spelled
from myim_client.errors import ProfileRefused
from myim_client.profile import check_private
from myim_wire.key_schedule import KeyPair, derive_terminal_private

SECRET_BYTES = 32
IDENTITY_BYTES = 32
_MACHINE_IDS = ("/etc/machine-id", "/var/lib/dbus/machine-id")
_HARDWARE = ("/sys/class/dmi/id/sys_vendor", "/sys/class/dmi/id/product_name", "/sys/class/dmi/id/board_name")


def machine_fingerprint() -> bytes:
    """32 bytes, the same on one machine at every start: SHA-256 over what every user of it may read of its hardware ids."""
    found = [_first_line(path) for path in _MACHINE_IDS]
    machine = next((line for line in found if line), platform.node())
    parts = [machine, platform.machine(), *(_first_line(path) for path in _HARDWARE)]
    return hashlib.sha256("\n".join(["MyIM fingerprint 1", *parts]).encode()).digest()


def _first_line(path: str) -> str:
    try:
        return Path(path).read_text(errors="replace").strip()
    except OSError:
        return ""


@contextlib.contextmanager
def _draft(path: Path, content: bytes) -> Iterator[Path]:
    """A new 0600 file beside `path` with `content`, flushed, under a name of its own; gone after the block."""
    draft = path.with_name(f".{path.name}.{secrets.token_hex(8)}")
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        yield draft
    finally:
        draft.unlink(missing_ok=True)


def _make_once(path: Path, content: bytes) -> None:
    """Make `path` with `content`, whole or not at all; whoever is second keeps what the first one made."""
    with _draft(path, content) as draft, contextlib.suppress(FileExistsError):
        os.link(draft, path)  # a rename would replace the file of whoever was faster


def _open_directory(directory: Path) -> None:
    """Make `directory` 0700, or an empty one of ours so. Raises OSError, ProfileRefused when others may read what lies in it."""
    directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    status = directory.stat()
    if status.st_uid != os.geteuid():
        raise ProfileRefused(f"{directory} belongs to another user")
    if status.st_mode & 0o077:
        if any(directory.iterdir()):
            raise ProfileRefused(f"{directory} is open to others (mode {stat.S_IMODE(status.st_mode):04o}); chmod 700 it")
        directory.chmod(0o700)


class Terminal:
    """An opened terminal directory."""

    def __init__(self, directory: Path, secret: bytes, fingerprint: bytes) -> None:
        self.directory = directory
        self.secret = secret
        self.fingerprint = fingerprint
        self.private_key = derive_terminal_private(fingerprint, secret)
        self.public_key = KeyPair(self.private_key).public

    def __repr__(self) -> str:
        return f"Terminal({str(self.directory)!r})"

    @classmethod
    def open(cls, directory: str | Path, fingerprint: bytes | None = None) -> Terminal:
        """The terminal in `directory`, made (0700, secret 0600) if it is not there; `fingerprint` 32 bytes, default this machine's.

        Processes that make it at the same time hold the same secret. Raises ProfileRefused when the directory or secret is open to
        others, or is damaged.
        """
        directory = Path(directory).expanduser()
        path = directory / "terminal.secret"
        try:
            _open_directory(directory)
            if not os.path.lexists(path):
                _make_once(path, os.urandom(SECRET_BYTES).hex().encode() + b"\n")
            check_private(path)
            secret = bytes.fromhex(path.read_text("ascii", "replace").strip())
        except OSError as error:
            raise ProfileRefused(f"{directory}: {error.strerror}") from None
        except ValueError:
            raise ProfileRefused(f"{path} is damaged") from None
        if len(secret) != SECRET_BYTES:
            raise ProfileRefused(f"{path} is damaged")
        return cls(directory, secret, fingerprint or machine_fingerprint())

    def profile_path(self, login_server: str, name: str) -> Path:
        """Where the file of user `name` at `login_server` (HOST:PORT) lies; one user has one file, however the two are written.

        Raises ValueError (login_server).
        """
        place = re.sub(r"[^0-9A-Za-z.]", "_", spelled(login_server))
        folded = urllib.parse.quote(fold_name(name), safe="", errors="surrogatepass")
        if len(folded) > 120:
            folded = hashlib.sha256(folded.encode()).hexdigest()
        return self.directory / f"{place}-{folded or '_'}.db"

    def pin(self, login_server: str) -> bytes | None:
        """The identity (32 bytes) pinned for `login_server`, None if none is. Raises ProfileRefused, ValueError (login_server)."""
        return self._pins().get(spelled(login_server))

    def trust(self, login_server: str, identity: bytes) -> bytes:
        """Pin `identity` if none is pinned yet; the identity that is pinned now, which another process may have seen first."""
        with self._changing_pins() as pins:
            return pins.setdefault(spelled(login_server), identity)

    def keep_pin(self, login_server: str, identity: bytes) -> None:
        """Trust `identity` at `login_server` from now on, whatever was pinned."""
        with self._changing_pins() as pins:
            pins[spelled(login_server)] = identity

    def unpin(self, login_server: str) -> bool:
        """Forget the pinned identity: the next login trusts what it sees. False if there was none."""
        with self._changing_pins() as pins:
            return pins.pop(spelled(login_server), None) is not None

    @property
    def _pins_path(self) -> Path:
        return self.directory / "pins.json"

    @contextlib.contextmanager
    def _changing_pins(self) -> Iterator[dict[str, bytes]]:
        """The pins, for this process alone; what the block makes of them is kept, never half. Raises ProfileRefused."""
        try:
            lock = os.open(self.directory / "pins.lock", os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
            try:
                fcntl.flock(lock, fcntl.LOCK_EX)
                before = self._pins()
                pins = dict(before)
                yield pins
                if pins != before:
                    content = json.dumps({server: identity.hex() for server, identity in pins.items()}, indent=1)
                    with _draft(self._pins_path, content.encode() + b"\n") as draft:
                        os.replace(draft, self._pins_path)
            finally:
                os.close(lock)
        except OSError as error:
            raise ProfileRefused(f"{self._pins_path}: {error.strerror}") from None

    def _pins(self) -> dict[str, bytes]:
        path = self._pins_path
        damaged = ProfileRefused(f"{path} is damaged")  # it must not turn into trusting anyone
        try:
            check_private(path)
            pins = {spelled(server): bytes.fromhex(identity) for server, identity in json.loads(path.read_bytes()).items()}
        except FileNotFoundError:
            return {}
        except OSError as error:
            raise ProfileRefused(f"{path}: {error.strerror}") from None
        except (ValueError, AttributeError, TypeError, RecursionError):
            raise damaged from None
        if any(len(identity) != IDENTITY_BYTES for identity in pins.values()):
            raise damaged
        return pins


def fold_name(name: str) -> str:
    """A user's name as names are compared [P-4.12]."""
    return unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", name).casefold())
