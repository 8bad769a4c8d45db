"""`myim.yaml` and the environment to one frozen `Config`, or to errors an operator can act on.

Here live the order of sources (defaults, file, `MYIM_SECTION__KEY` variables), the rules between values, and the wording of errors: file
and line, the key, the nearest key that exists. Nothing is opened or bound here but the file itself; what there is to configure stands in
`config_sections`.
"""

import difflib
import types
import typing
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from pydantic import ValidationError
from pydantic_core import ErrorDetails

from myim_server.config_file import ConfigFile, ConfigFileRefused, KeyPath, parse_scalar, read_config_file
from myim_server.config_sections import Address, Config, Section

__all__ = ["Address", "Config", "ConfigError", "known_keys", "load_config"]

ENVIRONMENT_PREFIX = "MYIM_"
# One message with its head and trailer, as large as [P-3.5] lets it be.
LARGEST_MESSAGE_BYTES = 32_768 + 128
LARGEST_FRAME_BYTES = 65_536 + 4


class ConfigError(Exception):
    """The configuration cannot be used; `problems` has one line each, `str()` all of them. The command line exits with 2."""

    def __init__(self, problems: list[str]) -> None:
        super().__init__("\n".join(problems))
        self.problems = problems


@dataclass(frozen=True)
class Rule:
    """Values that must fit together: the keys concerned, the condition, and why."""

    keys: tuple[str, ...]
    holds: Callable[[Config], bool]
    why: str



def _can_be_dialled(told: Address | None) -> bool:
    return told is None or (told.port != 0 and not told.is_wildcard)


RULES: tuple[Rule, ...] = (
    Rule(
        ("login.listen", "center.listen"),
        lambda c: set(c.node.roles) < {"login", "center"} or c.login.listen.port == 0 or c.login.listen != c.center.listen,
        "login and center cannot listen at the same address",
    ),
    Rule(
        ("login.listen",),
        lambda c: c.login.listen.port != 0 or c.node.allow_any_port,
        "port 0 would be another port at each start, and terminals could not find it (node.allow_any_port allows it for tests)",
    ),
    Rule(
        ("center.listen",),
        lambda c: c.center.listen.port != 0 or c.node.allow_any_port,
        "port 0 would be another port at each start, and terminals could not find it (node.allow_any_port allows it for tests)",
    ),
    Rule(("login.advertise",), lambda c: _can_be_dialled(c.login.advertise), "terminals could not dial it"),
    Rule(("center.advertise",), lambda c: _can_be_dialled(c.center.advertise), "terminals could not dial it"),
    Rule(
        ("center.listen", "center.advertise"),
        lambda c: "center" not in c.node.roles or c.center.advertise is not None or not c.center.listen.is_wildcard,
        "terminals would be told to dial every address at once, which for them is their own machine; name in center.advertise the one "
        "at which they find this center",
    ),
    Rule(("login.servers",), lambda c: all(map(_can_be_dialled, c.login.servers)), "terminals could not dial one of them"),
    Rule(
        ("node.roles", "login.servers"),
        lambda c: "center" in c.node.roles or "login" not in c.node.roles or bool(c.login.servers),
        "a login center that runs apart from its centers must be told where terminals find them: name them in login.servers",
    ),
    Rule(
        ("metrics.listen",),
        lambda c: c.metrics.listen is None or c.metrics.listen.is_loopback,
        "metrics have no login; they are served on a loopback address only",
    ),
    Rule(
        ("login.max_handshakes_per_address", "login.max_handshakes"),
        lambda c: c.login.max_handshakes_per_address <= c.login.max_handshakes,
        "one address cannot have more handshakes than all together",
    ),
    Rule(
        ("center.max_handshakes_per_address", "center.max_handshakes"),
        lambda c: c.center.max_handshakes_per_address <= c.center.max_handshakes,
        "one address cannot have more handshakes than all together",
    ),
    Rule(
        ("center.idle_close_seconds", "center.idle_ping_seconds"),
        lambda c: c.center.idle_close_seconds >= 2 * c.center.idle_ping_seconds,
        "a live but quiet terminal needs two pings' time to answer before it is called dead",
    ),
    Rule(
        ("center.outbound_bytes",),
        lambda c: c.center.outbound_bytes >= LARGEST_FRAME_BYTES,
        f"a connection must be able to hold one frame of the largest size, {LARGEST_FRAME_BYTES} bytes",
    ),
    Rule(
        ("delivery.unconfirmed_bytes", "center.outbound_bytes"),
        lambda c: c.delivery.unconfirmed_bytes <= c.center.outbound_bytes,
        "what may be unconfirmed must fit into the outbound buffer, or draining stored messages would cut the connection",
    ),
    Rule(
        ("delivery.unconfirmed_bytes",),
        lambda c: c.delivery.unconfirmed_bytes >= LARGEST_MESSAGE_BYTES,
        f"one message of the largest size, {LARGEST_MESSAGE_BYTES} bytes, could never be delivered",
    ),
    Rule(
        ("delivery.unsettled_bytes_per_terminal",),
        lambda c: c.delivery.unsettled_bytes_per_terminal >= LARGEST_MESSAGE_BYTES,
        f"one message of the largest size, {LARGEST_MESSAGE_BYTES} bytes, could never be accepted",
    ),
    Rule(
        ("delivery.unsettled_per_terminal",),
        lambda c: c.delivery.unsettled_per_terminal >= 64,
        "terminals keep up to 64 messages unsettled [P-8.5]; a lower limit refuses well-behaved ones",
    ),
    Rule(
        ("delivery.offline_bytes_per_user",),
        lambda c: c.delivery.offline_bytes_per_user >= LARGEST_MESSAGE_BYTES,
        f"one message of the largest size, {LARGEST_MESSAGE_BYTES} bytes, could never be stored",
    ),
    Rule(
        ("delivery.page_rows", "delivery.unconfirmed_rows"),
        lambda c: c.delivery.page_rows <= c.delivery.unconfirmed_rows,
        "a page read from the store must fit into what may be unconfirmed",
    ),
    Rule(
        ("delivery.receipt_seconds", "delivery.attempt_seconds"),
        lambda c: c.delivery.receipt_seconds < c.delivery.attempt_seconds,
        "the target's center must return a message before its owner stops waiting for it",
    ),
    Rule(
        ("delivery.attempt_seconds", "delivery.store_seconds"),
        lambda c: c.delivery.attempt_seconds + c.delivery.store_seconds <= 10,
        "a sender is promised an answer within 10 s [P-8.6]: one attempt to deliver and one to store must fit",
    ),
    Rule(
        ("delivery.offline_days",),
        lambda c: c.delivery.offline_days <= 33,
        "terminals remember for 40 days what they have shown, and resend for 7 [P-8.2, P-8.3]: after 33 days a message could show twice",
    ),
    Rule(
        ("tokens.valid_hours", "tokens.rotate_hours"),
        lambda c: c.tokens.valid_hours <= c.tokens.rotate_hours,
        "only two ticket keys are accepted: a token must not outlive the key after its own",
    ),
    Rule(
        ("tokens.renew_days", "tokens.valid_hours"),
        lambda c: c.tokens.renew_days * 24 >= c.tokens.valid_hours,
        "a token cannot be valid longer than it may be renewed",
    ),
    Rule(
        ("tokens.isolated_seconds", "tokens.poll_seconds"),
        lambda c: c.tokens.isolated_seconds >= 3 * c.tokens.poll_seconds,
        "one missed poll must not make a center call itself cut off: three must fit",
    ),
    Rule(
        ("store.password_file",),
        lambda c: c.store.password_file is None or not c.store.is_sqlite,
        "SQLite has no password",
    ),
)


def known_keys() -> dict[str, object]:
    """Every `section.key` there is, with its type annotation, in the order of `myim.yaml`."""
    keys: dict[str, object] = {}
    for section, field in Config.model_fields.items():
        assert isinstance(field.annotation, type) and issubclass(field.annotation, Section)
        for key, value in field.annotation.model_fields.items():
            keys[f"{section}.{key}"] = value.annotation
    return keys


def load_config(path: Path | None, environment: Mapping[str, str]) -> Config:
    """Defaults, overridden by the file (None: there is none), overridden by `MYIM_SECTION__KEY` of the environment.

    Raises ConfigError with every problem found, not just the first.
    """
    try:
        file = read_config_file(path) if path is not None else ConfigFile()
    except ConfigFileRefused as refused:
        where = f"{path}:{refused.line}" if refused.line else str(path)
        raise ConfigError([f"{where}: {refused.reason}"]) from None
    return _Loading(str(path), file, environment).config()


class _Loading:
    """One load: values merged, and where each came from, for the errors."""

    def __init__(self, name: str, file: ConfigFile, environment: Mapping[str, str]) -> None:
        self._name = name
        self._file = file
        self._values = dict(file.values)
        self._variables: dict[str, str] = {}
        self._problems: list[str] = []
        for variable in sorted(environment):
            if variable.startswith(ENVIRONMENT_PREFIX) and "__" in variable:
                self._override(variable, environment[variable])

    def config(self) -> Config:
        """The checked configuration. Raises ConfigError."""
        config = self._validated()
        if config is not None:
            for rule in RULES:
                if not rule.holds(config):
                    values = ", ".join(f"{key} = {_value(config, key)}" for key in rule.keys)
                    self._problems.append(f"{self._where(self._blamed(rule))}{values}: {rule.why}")
        if self._problems or config is None:
            raise ConfigError(self._problems)
        return config

    def _validated(self) -> Config | None:
        for name, value in list(self._values.items()):
            if value is None and name in Config.model_fields:
                # A section whose every line is commented out reads as null.
                del self._values[name]
        try:
            return Config.model_validate(self._values)
        except ValidationError as error:
            seen: set[KeyPath] = set()
            for detail in error.errors(include_url=False):
                path = tuple(str(part) for part in detail["loc"])[:2]
                if path not in seen:
                    seen.add(path)
                    self._problems.append(f"{self._where('.'.join(path))}{'.'.join(path)}: {_reason(path, detail)}")
            return None

    def _override(self, variable: str, text: str) -> None:
        section, _, name = variable[len(ENVIRONMENT_PREFIX) :].lower().partition("__")
        key = f"{section}.{name}"
        known = known_keys()
        if key not in known:
            self._problems.append(f"environment {variable}: there is no {key}{_nearest(key, known)}")
            return
        try:
            value = _from_text(text, _types_of(known[key]))
        except ConfigFileRefused as refused:
            self._problems.append(f"environment {variable}: {refused.reason}")
            return
        values = self._values.get(section)
        if values is not None and not isinstance(values, dict):
            return
        self._values[section] = {**(values or {}), name: value}
        self._variables[key] = variable

    def _blamed(self, rule: Rule) -> str:
        given = [key for key in rule.keys if key in self._variables or tuple(key.split(".")) in self._file.lines]
        return given[0] if given else rule.keys[0]

    def _where(self, key: str) -> str:
        if key in self._variables:
            return f"environment {self._variables[key]}: "
        line = self._file.line_of(tuple(key.split(".")))
        return f"{self._name}:{line}: " if line else ""


def _reason(path: KeyPath, detail: ErrorDetails) -> str:
    if detail["type"] == "extra_forbidden":
        candidates = list(known_keys()) if len(path) == 2 else list(Config.model_fields)
        return f"there is no such key{_nearest('.'.join(path), candidates)}"
    if detail["type"] in ("model_type", "model_attributes_type"):
        return "must be a section with keys below it"
    reason = detail["msg"].removeprefix("Value error, ").removeprefix("Input ")
    shown = repr(detail["input"])
    return f"{reason[0].lower()}{reason[1:]}, not {shown:.60}" if detail["type"] != "value_error" else reason


def _nearest(key: str, known: "list[str] | dict[str, object]") -> str:
    near = difflib.get_close_matches(key, list(known), n=1, cutoff=0.0)
    section, _, name = key.partition(".")
    # Put into the wrong section is as common as misspelt.
    moved = [other for other in known if other.endswith(f".{name}")] if section in Config.model_fields else []
    return f"; did you mean {(moved or near)[0]}?"


def _from_text(text: str, expected: set[object]) -> object:
    """What an environment variable means for a key of these types: text stays text, lists may be written with commas."""
    if text in ("", "null") and type(None) in expected:
        return None
    if tuple in expected and not text.lstrip().startswith("["):
        return [part.strip() for part in text.split(",") if part.strip()]
    if expected & {str, Address, Literal}:
        return text
    return parse_scalar(text)


def _types_of(annotation: object) -> set[object]:
    origin = typing.get_origin(annotation)
    if origin is typing.Annotated:
        return _types_of(typing.get_args(annotation)[0])
    if origin in (typing.Union, types.UnionType):
        return set().union(*map(_types_of, typing.get_args(annotation)))
    return {origin or annotation}


def _value(config: Config, key: str) -> object:
    section, _, name = key.partition(".")
    return getattr(getattr(config, section), name)
