"""The terminal: its secret, its fingerprint, the pinned login centers, and where the profiles of its users lie.

All users of one terminal share its key pair, which is made of a random secret kept here and the machine's fingerprint, gathered
anew at every start: a copied directory does not work elsewhere [P-4.1].
"""

from __future__ import annotations

import hashlib
import json
import os
import platform
import re
import unicodedata
import urllib.parse
from pathlib import Path

from myim_client.errors import ProfileRefused
from myim_client.profile import check_private
from myim_wire.key_schedule import KeyPair, derive_terminal_private

SECRET_BYTES = 32
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


def _write_private(path: Path, content: bytes) -> None:
    """Replace `path` by a 0600 file with `content`, flushed, never half."""
    draft = path.with_name(f"{path.name}.{os.getpid()}.draft")
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    os.replace(draft, path)


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

        Raises ProfileRefused when the directory or secret can be read by others, or is damaged.
        """
        directory = Path(directory).expanduser()
        try:
            directory.mkdir(mode=0o700, parents=True, exist_ok=True)
            path = directory / "terminal.secret"
            if not path.exists() and not path.is_symlink():
                _write_private(path, os.urandom(SECRET_BYTES).hex().encode() + b"\n")
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
        """Where the file of user `name` at `login_server` (HOST:PORT) lies; one user has one file, however the name is written."""
        place = re.sub(r"[^0-9A-Za-z.]", "_", login_server)
        folded = urllib.parse.quote(fold_name(name), safe="", errors="surrogatepass")
        if len(folded) > 120:
            folded = hashlib.sha256(folded.encode()).hexdigest()
        return self.directory / f"{place}-{folded or '_'}.db"

    def pin(self, login_server: str) -> bytes | None:
        """The identity (32 bytes) pinned for `login_server`, None if none is."""
        text = self._pins().get(login_server)
        return bytes.fromhex(text) if text else None

    def keep_pin(self, login_server: str, identity: bytes) -> None:
        """Trust `identity` at `login_server` from now on."""
        _write_private(self._pins_path, json.dumps({**self._pins(), login_server: identity.hex()}, indent=1).encode() + b"\n")

    def unpin(self, login_server: str) -> bool:
        """Forget the pinned identity: the next login trusts what it sees. False if there was none."""
        pins = self._pins()
        if pins.pop(login_server, None) is None:
            return False
        _write_private(self._pins_path, json.dumps(pins, indent=1).encode() + b"\n")
        return True

    @property
    def _pins_path(self) -> Path:
        return self.directory / "pins.json"

    def _pins(self) -> dict[str, str]:
        try:
            content = self._pins_path.read_bytes()
        except FileNotFoundError:
            return {}
        try:
            pins = json.loads(content)
            return {str(server): bytes.fromhex(identity).hex() for server, identity in pins.items()}
        except (ValueError, AttributeError, TypeError):
            # a damaged list of pins must not turn into trusting anyone
            raise ProfileRefused(f"{self._pins_path} is damaged") from None


def fold_name(name: str) -> str:
    """A user's name as names are compared [P-4.12]."""
    return unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", name).casefold())
