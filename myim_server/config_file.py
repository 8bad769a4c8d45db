"""A YAML file as values that remember their lines.

Here lives what can be wrong with the file as a file: missing, binary, too large, keys twice, aliases. What the keys mean, and which there
are, is `config`'s business. Lines matter because an operator mends the file by them.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import yaml

MAX_FILE_BYTES = 1 << 20
MAX_DEPTH = 8

KeyPath = tuple[str, ...]


class ConfigFileRefused(Exception):
    """The file is no usable YAML mapping; `line` is 1-based, or 0 when it concerns the whole file."""

    def __init__(self, line: int, reason: str) -> None:
        super().__init__(reason)
        self.line = line
        self.reason = reason


@dataclass(frozen=True)
class ConfigFile:
    """`values`: nested dicts of the file; `lines`: key path → 1-based line of the key."""

    values: dict[str, object] = field(default_factory=dict)
    lines: dict[KeyPath, int] = field(default_factory=dict)

    def line_of(self, path: KeyPath) -> int:
        """The line of the key, or of the nearest key above it that the file has; 0 when it has none."""
        while path:
            if path in self.lines:
                return self.lines[path]
            path = path[:-1]
        return 0


def read_config_file(path: Path) -> ConfigFile:
    """Reads the file; a byte order mark and CRLF line ends are harmless and allowed.

    Raises ConfigFileRefused: missing, empty, a directory, over 1 MiB, not UTF-8, not YAML, a key twice, anchors and aliases, too deep.
    """
    return parse_config_text(_text(path))


def parse_config_text(text: str) -> ConfigFile:
    """The same for a text already read. Raises ConfigFileRefused."""
    try:
        root = yaml.compose(text, Loader=yaml.SafeLoader)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        raise ConfigFileRefused(mark.line + 1 if mark else 0, f"is not YAML: {error.problem or error.context}") from None
    except yaml.YAMLError as error:
        raise ConfigFileRefused(0, f"is not YAML: {str(error).splitlines()[0]}") from None
    except RecursionError:
        raise ConfigFileRefused(0, f"is nested deeper than {MAX_DEPTH} levels") from None
    if root is None:
        raise ConfigFileRefused(0, "is empty; leave the file out to run on defaults")
    if not isinstance(root, yaml.MappingNode):
        raise ConfigFileRefused(_line(root), "must hold sections such as `center:`")
    lines: dict[KeyPath, int] = {}
    value = _Walk(lines).value(root, ())
    assert isinstance(value, dict)
    return ConfigFile(value, lines)


def parse_scalar(text: str) -> object:
    """One value as YAML would read it (an environment variable). Raises ConfigFileRefused."""
    try:
        return yaml.safe_load(text)
    except (yaml.YAMLError, RecursionError, ValueError):
        raise ConfigFileRefused(0, "is not a YAML value") from None


def _text(path: Path) -> str:
    try:
        with path.open("rb") as file:
            content = file.read(MAX_FILE_BYTES + 1)
    except IsADirectoryError:
        raise ConfigFileRefused(0, "is a directory") from None
    except (OSError, ValueError) as error:
        raise ConfigFileRefused(0, f"cannot be read: {getattr(error, 'strerror', None) or error}") from None
    if len(content) > MAX_FILE_BYTES:
        raise ConfigFileRefused(0, f"is larger than {MAX_FILE_BYTES} bytes, that is no configuration")
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise ConfigFileRefused(content.count(b"\n", 0, error.start) + 1, "is not UTF-8 text") from None
    if "\0" in text:
        raise ConfigFileRefused(text.count("\n", 0, text.index("\0")) + 1, "is binary, not text")
    return text


class _Walk:
    """Nodes to values, once each: a node met twice is an alias, and aliases can blow a small file up."""

    def __init__(self, lines: dict[KeyPath, int]) -> None:
        self._lines = lines
        self._met: set[int] = set()
        self._scalars = yaml.SafeLoader("")

    def value(self, node: yaml.Node, path: KeyPath) -> object:
        if id(node) in self._met:
            raise ConfigFileRefused(_line(node), "uses an alias (*name); write the value out")
        self._met.add(id(node))
        if len(path) > MAX_DEPTH:
            raise ConfigFileRefused(_line(node), f"is nested deeper than {MAX_DEPTH} levels")
        if isinstance(node, yaml.MappingNode):
            return dict(self._items(node, path))
        if isinstance(node, yaml.SequenceNode):
            return [self.value(item, (*path, str(number))) for number, item in enumerate(node.value)]
        return self._scalar(node)

    def _items(self, node: yaml.MappingNode, path: KeyPath) -> Iterator[tuple[str, object]]:
        for key_node, value_node in node.value:
            key = self._scalar(key_node) if isinstance(key_node, yaml.ScalarNode) else None
            if not isinstance(key, str):
                raise ConfigFileRefused(_line(key_node), f"has a key that is no name: {getattr(key_node, 'value', '?')!s:.40}")
            where = (*path, key)
            if where in self._lines:
                raise ConfigFileRefused(_line(key_node), f"has {'.'.join(where)} twice; the first is in line {self._lines[where]}")
            self._lines[where] = _line(key_node)
            yield key, self.value(value_node, where)

    def _scalar(self, node: yaml.Node) -> object:
        try:
            return self._scalars.construct_object(node, deep=True)
        except (yaml.YAMLError, ValueError) as error:
            reason = getattr(error, "problem", None) or str(error)
            raise ConfigFileRefused(_line(node), f"has a value that cannot be read: {reason}") from None


def _line(node: yaml.Node) -> int:
    return int(node.start_mark.line) + 1
