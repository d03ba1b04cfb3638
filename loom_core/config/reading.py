"""From a YAML file to a frozen dataclass: files that extend others, overrides from the command line, no unknown names.

    base = read_settings(path, overrides=["data.packing.tokens=2048"])
    config = build(TrainingConfig, base)

Every name that a file has must be a field; every value must be of the field's type. Numbers may be written as `2e-5`,
which YAML itself takes for text.
"""

from __future__ import annotations

import difflib
import types
import typing
from collections.abc import Collection, Iterable, Mapping
from dataclasses import MISSING, asdict, fields, is_dataclass
from pathlib import Path
from typing import Any, Literal, TypeVar, Union, get_args, get_origin, get_type_hints

from ..errors import ConfigError, MissingExtraError

Settings = TypeVar("Settings")

EXTENDS = "extends"
"""Key of a file that names another, beside it, whose values hold where this one has none."""
OVERRIDE = "!override"
"""Tag of a mapping that stands for the other file's as a whole, instead of being merged into it."""


class _Whole(dict[str, Any]):
    """A mapping with that tag."""


def read_settings(path: Path, *, overrides: Iterable[str] = ()) -> dict[str, Any]:
    """The mapping of a YAML file, with what it extends and what is overridden put in.

    Args:
        path: The file.
        overrides: Texts `name.of.field=value`, the value in YAML; applied in order, after all files.

    Raises:
        ConfigError: A file is missing, is no YAML mapping or extends itself; an override is no assignment.
        MissingExtraError: PyYAML is not installed.
    """
    values = _read_extended(path, seen=())
    for text in overrides:
        _override(values, text)
    return values


def build(cls: type[Settings], values: Mapping[str, Any], *, where: str = "") -> Settings:
    """A frozen dataclass from a mapping, by the types of its fields.

    Args:
        cls: A dataclass whose fields are numbers, texts, paths, literals, tuples, mappings or dataclasses of those. A
            class with a class method `from_settings(values, where=...)` reads itself.
        values: Field name -> value.
        where: Dotted name of the mapping in its file, for messages.

    Raises:
        ConfigError: A name is unknown (the nearest is offered) or missing, or a value is of the wrong type.
    """
    if not isinstance(values, Mapping):
        raise _wrong(where or cls.__name__, values, "a mapping of names to values")
    known = [field.name for field in fields(cls) if field.init]  # type: ignore[arg-type]
    for name in values:
        if name not in known:
            raise unknown_name(_dotted(where, str(name)), str(name), known)
    hints = get_type_hints(cls)
    made = {name: _value(hints[name], value, _dotted(where, name)) for name, value in values.items()}
    missing = [
        field.name
        for field in fields(cls)  # type: ignore[arg-type]
        if field.init and field.name not in made and field.default is MISSING and field.default_factory is MISSING
    ]
    if missing:
        raise ConfigError(
            f"no {', '.join(_dotted(where, name) for name in missing)}",
            expected="a value",
            fix="add it to the config file, or use --set",
        )
    return cls(**made)


def unknown_name(shown: str, name: str, known: Collection[str], *, kind: str = "setting") -> ConfigError:
    """The error about a name that nothing has; it offers the nearest one.

    Args:
        shown: How the message writes it, such as with the group that it stands in.
        name: The name alone.
        known: Names that there are.
        kind: What it should name.
    """
    near = difflib.get_close_matches(name, known, n=1)
    return ConfigError(
        f"unknown {kind} {shown!r}",
        expected="one of " + ", ".join(known),
        fix=f"did you mean {near[0]!r}?" if near else "remove it, or correct the name",
    )


def flatten(values: Any, *, where: str = "") -> dict[str, Any]:
    """Settings by dotted name, as plain values that JSON can hold.

    Args:
        values: A dataclass, a mapping, a sequence or a plain value.
        where: Dotted name of `values`.
    """
    if is_dataclass(values) and not isinstance(values, type):
        values = asdict(values)
    if isinstance(values, Mapping) and values:
        return {
            name: value
            for key, inner in values.items()
            for name, value in flatten(inner, where=_dotted(where, key)).items()
        }
    if isinstance(values, list | tuple) and values and any(isinstance(item, Mapping | list | tuple) for item in values):
        return {
            name: value
            for index, inner in enumerate(values)
            for name, value in flatten(inner, where=_dotted(where, str(index))).items()
        }
    return {where: _plain(values)}


def to_yaml(settings: Any) -> str:
    """Settings as a file that `read_settings` reads back.

    Args:
        settings: A dataclass.
    """
    text: str = _yaml().safe_dump(_plain_tree(asdict(settings)), sort_keys=False, allow_unicode=True)
    return text


def _plain_tree(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {str(name): _plain_tree(inner) for name, inner in value.items()}
    return [_plain_tree(item) for item in value] if isinstance(value, list | tuple) else _plain(value)


def _plain(value: Any) -> Any:
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    return value if isinstance(value, bool | int | float | str | dict) or value is None else str(value)


def _read_extended(path: Path, *, seen: tuple[Path, ...]) -> dict[str, Any]:
    if path.resolve() in seen:
        raise ConfigError(f"{path}, which extends itself", expected="an end to it", fix=f"remove its {EXTENDS!r}")
    values = _read_yaml(path)
    base = values.pop(EXTENDS, None)
    if base is None:
        return values
    if not isinstance(base, str):
        raise _wrong(EXTENDS, base, "the name of a file")
    return _merged(_read_extended(path.parent / base, seen=(*seen, path.resolve())), values)


def _read_yaml(path: Path) -> dict[str, Any]:
    yaml = _yaml()
    try:
        content = yaml.load(path.read_text(encoding="utf-8"), Loader=_loader(yaml))
    except OSError as error:
        raise ConfigError(
            f"{path}, which cannot be read ({error.strerror})", expected="a YAML file", fix="correct the path"
        ) from error
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path}, which is no YAML ({error})", expected="YAML", fix="correct that line") from error
    if not isinstance(content, dict) and content is not None:
        raise ConfigError(f"{path}, a YAML {type(content).__name__}", expected="a mapping", fix="write `name: value`")
    return content or {}


def _loader(yaml: Any) -> Any:
    """The safe loader, which also knows the mark of mappings that are not merged."""

    class Loader(yaml.SafeLoader):  # type: ignore[misc]
        """Of this call: the package's own is left as it is."""

    def whole(loader: Any, node: Any) -> _Whole:
        if not isinstance(node, yaml.MappingNode):
            raise yaml.constructor.ConstructorError(None, None, f"{OVERRIDE} of what is no mapping", node.start_mark)
        return _Whole(loader.construct_mapping(node, deep=True))

    Loader.add_constructor(OVERRIDE, whole)
    return Loader


def _yaml() -> Any:
    try:
        import yaml
    except ImportError as error:
        raise MissingExtraError("pyyaml", "reading config files") from error
    return yaml


def _merged(base: Mapping[str, Any], values: Mapping[str, Any]) -> dict[str, Any]:
    """Values over those of a base; mappings are merged unless they are marked, everything else is replaced."""
    merged = dict(base)
    for name, value in values.items():
        below = merged.get(name)
        both = isinstance(value, Mapping) and isinstance(below, Mapping) and not isinstance(value, _Whole)
        merged[name] = _merged(below, value) if both else value  # type: ignore[arg-type]
    return merged


def _override(values: dict[str, Any], text: str) -> None:
    name, equals, value = text.partition("=")
    if not equals or not name.strip():
        raise ConfigError(f"--set {text}", expected="name.of.setting=value", fix="write it so")
    yaml = _yaml()
    try:
        parsed = yaml.safe_load(value)
    except yaml.YAMLError as error:
        raise ConfigError(f"--set {text}, whose value is no YAML", expected="a YAML value", fix="quote it") from error
    *parents, last = name.strip().split(".")
    place: Any = values
    for depth, parent in enumerate(parents):
        place = _inside(place, parent, ".".join(parents[: depth + 1]))
    if isinstance(place, list):
        place[_index(place, last, name)] = parsed
    else:
        place[last] = parsed


def _inside(place: Any, name: str, dotted: str) -> Any:
    """The mapping or list under a name; an empty mapping where there is nothing yet."""
    if isinstance(place, list):
        inner = place[_index(place, name, dotted)]
    else:
        if place.get(name) is None:
            place[name] = {}
        inner = place[name]
    if not isinstance(inner, dict | list):
        raise ConfigError(
            f"--set into {dotted}, which is {inner!r}", expected="a group of settings", fix="set it whole"
        )
    return inner


def _index(place: list[Any], name: str, dotted: str) -> int:
    if name.isdecimal() and int(name) < len(place):
        return int(name)
    raise ConfigError(f"--set {dotted}", expected=f"a number from 0 to {len(place) - 1}", fix="correct the number")


def _dotted(where: str, name: str) -> str:
    return f"{where}.{name}" if where else name


def _wrong(where: str, value: Any, expected: str) -> ConfigError:
    return ConfigError(f"{where}: {value!r}", expected=expected, fix="correct the config file")


def _value(kind: Any, value: Any, where: str) -> Any:  # noqa: PLR0911 - one line a kind of type
    """A value as its field's type has it."""
    origin, inner = get_origin(kind), get_args(kind)
    if kind is Any:
        return value
    if origin in (Union, types.UnionType):
        return _union(inner, value, where)
    if origin is Literal:
        if value in inner:
            return value
        raise _wrong(where, value, "one of " + ", ".join(map(repr, inner)))
    if origin is tuple:
        return _tuple(inner, value, where)
    if origin is not None and isinstance(origin, type) and issubclass(origin, Mapping):
        if isinstance(value, Mapping):
            return {str(key): _value(inner[1], item, _dotted(where, str(key))) for key, item in value.items()}
        raise _wrong(where, value, "a mapping")
    if hasattr(kind, "from_settings"):
        return kind.from_settings(value, where=where)
    if is_dataclass(kind):
        return build(typing.cast("type[Any]", kind), value, where=where)
    return _scalar(kind, value, where)


def _union(kinds: tuple[Any, ...], value: Any, where: str) -> Any:
    if value is None and type(None) in kinds:
        return None
    rest = [kind for kind in kinds if kind is not type(None)]
    failure: ConfigError | None = None
    for kind in rest:
        try:
            return _value(kind, value, where)
        except ConfigError as error:
            failure = failure or error
    raise failure or _wrong(where, value, "another value")


def _tuple(inner: tuple[Any, ...], value: Any, where: str) -> tuple[Any, ...]:
    if not isinstance(value, list | tuple):
        raise _wrong(where, value, "a list")
    kinds = [inner[0]] * len(value) if inner[-1] is Ellipsis else list(inner)
    if len(kinds) != len(value):
        raise _wrong(where, value, f"{len(kinds)} values")
    return tuple(
        _value(kind, item, _dotted(where, str(index)))
        for index, (kind, item) in enumerate(zip(kinds, value, strict=True))
    )


def _scalar(kind: Any, value: Any, where: str) -> Any:
    if kind is bool and isinstance(value, bool):
        return value
    if kind is int and isinstance(value, int) and not isinstance(value, bool):
        return value
    if kind is float:
        try:
            if not isinstance(value, bool):
                return float(value)
        except (TypeError, ValueError):
            pass
    if kind is str and isinstance(value, str):
        return value
    if kind is Path and isinstance(value, str | Path):
        return Path(value)
    words = {bool: "true or false", int: "a whole number", float: "a number", str: "text", Path: "a path"}
    raise _wrong(where, value, words.get(kind, str(kind)))
