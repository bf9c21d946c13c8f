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
    if isinstance(value, str):
        text(value, f"{place}: {name}")
    return value


def name_of(entry: dict[str, Any], field_name: str, default: str | int, place: str) -> str:
    """Return what an entry is called: text or a whole number, as text; the default where it says nothing.

    Raises:
        AnnotationError: something else.
    """
    value = entry.get(field_name)
    if value is None:
        value = default
    if isinstance(value, bool) or not isinstance(value, str | int):
        raise AnnotationError(
            f"{place}: {field_name}: expected text or a whole number, got {words_of_json(value)}"
        )
    return text(str(value), f"{place}: {field_name}")


def number(value: Any, place: str) -> float:
    """Return seconds as a float; a number in quotes will do.

    Raises:
        AnnotationError: not a finite number.
    """
    try:
        seconds = float(value)
    except (TypeError, ValueError, OverflowError):
        seconds = float("nan")
    if isinstance(value, bool) or not abs(seconds) < float("inf"):
        raise AnnotationError(f"{place}: expected a number of seconds, got {words_of_json(value)}")
    return seconds


def text(value: Any, place: str) -> str:
    """Return a text.

    Raises:
        AnnotationError: something else, or half a character, which no tokenizer takes and no file can hold.
    """
    if not isinstance(value, str):
        raise AnnotationError(f"{place}: expected text, got {words_of_json(value)}")
    if not value.isascii():
        try:
            value.encode("utf-8")
        except UnicodeEncodeError as error:
            half = rf"\u{ord(value[error.start]):04x}"
            raise AnnotationError(f"{place}: expected text, got half a character, {half}") from None
    return value


def words_of_json(value: Any) -> str:
    """Return a value as it stands in JSON, cut short.

    >>> words_of_json({"a": None})
    '{"a": null}'
    """
    if value is None:
        return "nothing"
    try:
        words = json.dumps(value, ensure_ascii=False, default=str)
    except RecursionError:
        return "something nested too deeply"
    words = words.encode("utf-8", "backslashreplace").decode()
    return words if len(words) <= 80 else words[:77] + "..."
