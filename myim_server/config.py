"""`myim.yaml` and the environment to one frozen `Config`, or to errors an operator can act on.

Here live the order of sources (defaults, file, `MYIM_SECTION__KEY` variables) and the wording of errors: file and line, the key, the
nearest key that exists. Nothing is opened or bound here but the file itself; what there is to configure stands in `config_sections`, and
how values depend on each other in `config_rules`.
"""

import difflib
import types
import typing
from collections.abc import Mapping
from pathlib import Path
from typing import Literal

from pydantic import ValidationError
from pydantic_core import ErrorDetails

from myim_server.config_file import ConfigFile, ConfigFileRefused, KeyPath, parse_scalar, read_config_file
from myim_server.config_rules import RULES, Rule
from myim_server.config_sections import Address, Config, PinnedCenter, Section

__all__ = ["Address", "Config", "ConfigError", "known_keys", "load_config"]

ENVIRONMENT_PREFIX = "MYIM_"


class ConfigError(Exception):
    """The configuration cannot be used; `problems` has one line each, `str()` all of them. The command line exits with 2."""

    def __init__(self, problems: list[str]) -> None:
        super().__init__("\n".join(problems))
        self.problems = problems


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
    if expected & {str, Address, PinnedCenter, Literal}:
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
