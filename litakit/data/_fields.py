"""Fields of annotation entries: taken out with the right kind, or an error that says where and what."""

from __future__ import annotations

import json
from typing import Any, TypeVar

from litakit.data.annotations import AnnotationError

T = TypeVar("T")
KINDS: dict[type, str] = {str: "text", list: "a list", dict: "an object"}


def field(entry: Any, name: str, kind: type[T], place: str) -> T:
    """Return a field of an entry.

    Args:
        entry: a JSON object.
        name: of the field.
        kind: str, list or dict.
        place: file and line or entry, for the error.

    Raises:
        AnnotationError: not an object, no such field, or of another kind.
    """
    if not isinstance(entry, dict):
        raise AnnotationError(f"{place}: expected an object, got {words_of_json(entry)}")
    if name not in entry:
        raise AnnotationError(f'{place}: expected a field "{name}", got only {", ".join(entry) or "none"}')
    value = entry[name]
    if not isinstance(value, kind):
        raise AnnotationError(f"{place}: {name}: expected {KINDS[kind]}, got {words_of_json(value)}")
    return value


def number(value: Any, place: str) -> float:
    """Return seconds as a float; a number in quotes will do.

    Raises:
        AnnotationError: not a finite number.
    """
    try:
        seconds = float(value)
    except (TypeError, ValueError):
        seconds = float("nan")
    if isinstance(value, bool) or not abs(seconds) < float("inf"):
        raise AnnotationError(f"{place}: expected a number of seconds, got {words_of_json(value)}")
    return seconds


def text(value: Any, place: str) -> str:
    """Return a text.

    Raises:
        AnnotationError: something else.
    """
    if not isinstance(value, str):
        raise AnnotationError(f"{place}: expected text, got {words_of_json(value)}")
    return value


def words_of_json(value: Any) -> str:
    """Return a value as it stands in JSON, cut short.

    >>> words_of_json({"a": None})
    '{"a": null}'
    """
    if value is None:
        return "nothing"
    words = json.dumps(value, ensure_ascii=False, default=str)
    return words if len(words) <= 80 else words[:77] + "..."
