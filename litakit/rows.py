"""Rows of CSV files and JSON lines, and whole JSON files: what is wrong is named by file and line."""

from __future__ import annotations

import csv
import json
import logging
import os
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

from litakit.files import write_atomic

logger = logging.getLogger(__name__)

Source = str | os.PathLike[str]
Pairs = Callable[[list[tuple[str, Any]]], Any]


class RowError(ValueError):
    """A file that cannot be read as rows; it names the file, the line and what was expected."""


def text_lines(path: Source, newline: str | None = None) -> Iterator[tuple[int, str]]:
    r"""Yield (line number, line) of a UTF-8 text, with or without a byte order mark.

    Args:
        path: the file.
        newline: as in `open`: None takes every kind of line end and gives `"\n"`; `"\n"` splits at that only.

    Raises:
        RowError: bytes that are not UTF-8.
        OSError: the file cannot be read.
    """
    # The decoder of a file says where in its own buffer a bad byte lies, which tells nobody anything.
    with Path(path).open(encoding="utf-8-sig", errors="surrogateescape", newline=newline) as lines:
        for number, line in enumerate(lines, 1):
            if not line.isascii():
                _check_utf8(line, f"{path}:{number}")
            yield number, line


def csv_rows(path: Source, columns: Sequence[Sequence[str]] = ()) -> Iterator[tuple[int, dict[str, str]]]:
    r"""Yield (line number, row) for each row of a CSV file with a header; what is left empty is left out.

    A row that runs over several lines is named by its first.

    Args:
        path: the file.
        columns: names that the header must have, as alternatives: all names of one of them.

    Raises:
        RowError: not CSV, a column that is missing or comes twice, a row that is longer or shorter than the
            header, or bytes that are not UTF-8.
        OSError: the file cannot be read.

    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     _ = Path(folder, "a.csv").write_text("video,start\na.mp4,\nb.mp4,2.5\n")
    ...     list(csv_rows(Path(folder, "a.csv")))
    [(2, {'video': 'a.mp4'}), (3, {'video': 'b.mp4', 'start': '2.5'})]
    """
    reader = csv.reader((line for _, line in text_lines(path, newline="")), strict=True)
    names: list[str] | None = None
    line = 1
    try:
        for values in reader:
            if names is None:
                names = values
                _check_header(names, columns, f"{path}:{line}")
            elif values and len(values) != len(names):
                raise RowError(
                    f"{path}:{line}: expected {len(names)} values, as the header has, got {len(values)}; "
                    "a text with commas needs quotes"
                )
            elif values:
                row = zip(names, values, strict=True)
                yield line, {name: value for name, value in row if value != ""}
            line = reader.line_num + 1
    except csv.Error as error:
        raise RowError(f"{path}:{line}: not CSV: {error}") from error
    if names is None:
        _check_header([], columns, f"{path}:1")


def json_lines(path: Source) -> Iterator[tuple[int, dict[str, Any]]]:
    r"""Yield (line number, object) for each line that is not empty.

    Raises:
        RowError: a line that is no JSON object, or bytes that are not UTF-8.
        OSError: the file cannot be read.

    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     _ = Path(folder, "a.jsonl").write_text('{"video": "a.mp4", "start": null}\n')
    ...     list(json_lines(Path(folder, "a.jsonl")))
    [(1, {'video': 'a.mp4', 'start': None})]
    """
    for number, line in text_lines(path, newline="\n"):
        if line.strip():
            yield number, _object(parse_json(line.rstrip(), path, first_line=number), f"{path}:{number}")


def read_json(path: Source, object_pairs_hook: Pairs | None = None) -> Any:
    """Return what a JSON file holds.

    Args:
        path: the file.
        object_pairs_hook: as in `json.loads`.

    Raises:
        RowError: not JSON, or bytes that are not UTF-8.
        OSError: the file cannot be read.
    """
    text = Path(path).read_bytes().decode("utf-8-sig", errors="surrogateescape")
    if not text.isascii():
        for number, line in enumerate(text.split("\n"), 1):
            _check_utf8(line, f"{path}:{number}")
    return parse_json(text, path, object_pairs_hook=object_pairs_hook)


def parse_json(text: str, path: Source, first_line: int = 1, object_pairs_hook: Pairs | None = None) -> Any:
    """Return what a JSON text holds.

    Args:
        text: a file, or a part of it.
        path: of the file, for the error.
        first_line: of the text in the file.
        object_pairs_hook: as in `json.loads`.

    Raises:
        RowError: not JSON, or what no program can use: nested too deeply, a number of thousands of digits.

    >>> parse_json('{"start": 1,}', "a.jsonl", first_line=7)
    Traceback (most recent call last):
    ...
    litakit.rows.RowError: a.jsonl:7: not JSON: Expecting property name enclosed in double quotes (column 13)
    """
    try:
        return json.loads(text, object_pairs_hook=object_pairs_hook)
    except json.JSONDecodeError as error:
        line = first_line + error.lineno - 1
        raise RowError(f"{path}:{line}: not JSON: {error.msg} (column {error.colno})") from error
    except RecursionError:
        raise RowError(f"{path}:{first_line}: not readable as JSON: it is nested too deeply") from None
    except ValueError as error:
        raise RowError(f"{path}:{first_line}: not readable as JSON: {error}") from error


def resume_json_lines(
    path: Source, keep: Callable[[int, dict[str, Any]], bool]
) -> tuple[dict[str, Any], ...]:
    """Ready a file of JSON lines for a run that goes on by appending to it.

    What is not kept is taken out, and so is a last line that a killed run left unfinished. The file is
    replaced whole or not at all; where nothing is to be taken out it is not touched.

    Args:
        path: the file; a pipe or device, or nothing at all, holds no records.
        keep: is shown each line number and record; it may raise where a record does not belong here.

    Returns:
        The records that are kept, in file order.

    Raises:
        RowError: a line that is no JSON object, and not the unfinished last one.
        OSError: the file cannot be read or written.
    """
    file = Path(path)
    if not file.is_file():
        return ()
    content = file.read_bytes()
    # Bytes, because a killed run may have left half a character at the end; and split at line ends only,
    # because JSON strings may hold other characters that str.splitlines would split at.
    *lines, last = content.split(b"\n")
    kept: list[bytes] = []
    records: list[dict[str, Any]] = []
    for number, line in enumerate([*lines, last], 1):
        if not line.strip():
            continue
        try:
            text = line.decode("utf-8", errors="surrogateescape")
            _check_utf8(text, f"{path}:{number}")
            record = _object(parse_json(text, path, first_line=number), f"{path}:{number}")
        except RowError:
            if number <= len(lines) or not line.startswith(b"{"):  # a whole line, or words of somebody else's
                raise
            logger.warning("%s: the last line is unfinished and is taken out", path)
            continue
        if keep(number, record):
            kept.append(line)
            records.append(record)
    new = b"".join(line + b"\n" for line in kept)
    if new != content:
        write_atomic(file, new)
    return tuple(records)


def _check_utf8(line: str, place: str) -> None:
    try:
        line.encode("utf-8")
    except UnicodeEncodeError as error:
        byte = ord(line[error.start]) - 0xDC00  # as "surrogateescape" has it
        raise RowError(
            f"{place}: expected UTF-8 text, got the byte 0x{byte:02x} in column {error.start + 1}; "
            "save the file as UTF-8"
        ) from None


def _check_header(names: list[str], columns: Sequence[Sequence[str]], place: str) -> None:
    if columns and not any(set(some) <= set(names) for some in columns):
        expected = " or ".join(", ".join(some) for some in columns)
        got = ", ".join(names) or "an empty file"
        raise RowError(f"{place}: expected the columns {expected}; got {got}")
    for name in names:
        if names.count(name) > 1:
            raise RowError(f"{place}: expected each column once, got {name!r} {names.count(name)} times")


def _object(value: Any, place: str) -> dict[str, Any]:
    if not isinstance(value, dict):
        kind = "a list" if isinstance(value, list) else "nothing" if value is None else repr(value)[:80]
        raise RowError(f"{place}: expected a JSON object, got {kind}")
    return value
