"""Readers: one a format of annotation files, each from a file to its annotations in file order.

They check the form and keep the content: what is reversed, empty or doubled is for the data check to report.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any

from litakit.data._fields import field, name_of, number, text, words_of_json
from litakit.data._rows import read_csv, read_json_lines
from litakit.data._subtitles import read_elan, read_webvtt
from litakit.data.annotations import Annotation, AnnotationError, Pair, TimedCaption
from litakit.rows import RowError, json_lines, read_json, text_lines

ReadFile = Callable[[Path], Iterator[Annotation]]


def read_annotations(path: str | os.PathLike[str], reader: str) -> Iterator[Annotation]:
    """Read an annotation file.

    Args:
        path: the file.
        reader: one of `READERS`.

    Yields:
        Its annotations in file order.

    Raises:
        AnnotationError: the file is missing, empty, or is not in this format; with the line or entry.
        ValueError: no such reader.
    """
    if reader not in READERS:
        raise ValueError(f"reader must be one of {', '.join(READERS)}, got {reader!r}")
    file = Path(path)
    try:
        _check_file(file)
        yield from READERS[reader](file)
    except OSError as error:
        raise AnnotationError(f"{file}: cannot be read ({error.strerror or error})") from error
    except RowError as error:
        raise AnnotationError(str(error)) from error


def videos_of(files: Iterable[Path], reader: str) -> Iterator[str]:
    """Yield each different video that some files name, in the order of their annotations.

    Raises:
        AnnotationError: as `read_annotations`.
    """
    seen: set[str] = set()
    for file in files:
        for annotation in read_annotations(file, reader):
            if annotation.video is not None and annotation.video not in seen:
                seen.add(annotation.video)
                yield annotation.video


def read_captions(path: Path) -> Iterator[Annotation]:
    """Read `{"v_<id>": {"duration", "timestamps", "sentences"}}`, as ActivityNet Captions has it.

    A file name under "image", as HowTo100M's part has it, says what the video is called instead of the key.
    """
    for key, entry in _entries(path):
        place = f"{path}: {key}"
        times = field(entry, "timestamps", list, place)
        sentences = field(entry, "sentences", list, place)
        if len(times) != len(sentences):
            raise AnnotationError(f"{place}: {len(times)} timestamps and {len(sentences)} sentences")
        captions = []
        for index, (pair, sentence) in enumerate(zip(times, sentences, strict=True)):
            where = f"{place}: timestamps[{index}]"
            if not isinstance(pair, list) or len(pair) != 2:
                raise AnnotationError(f"{where}: expected [start, end] in seconds, got {words_of_json(pair)}")
            captions.append(
                TimedCaption(
                    number(pair[0], where),
                    number(pair[1], where),
                    text(sentence, f"{place}: sentences[{index}]"),
                )
            )
        video = text(entry["image"], f"{place}: image") if "image" in entry else key
        yield Annotation(key, video, number(entry.get("duration"), f"{place}: duration"), tuple(captions))


def read_qa(path: Path) -> Iterator[Annotation]:
    """Read `[{"video": file, "QA": [{"q", "a"}]}]`, as the video QA sets are read."""
    for index, entry in _items(path):
        place = f"{path}: entry {index}"
        video = field(entry, "video", str, place)
        yield Annotation(name_of(entry, "id", video, place), video, None, (), _pairs(entry, place))


def read_conversations(path: Path) -> Iterator[Annotation]:
    """Read `[{"id", "image", "conversations": [{"from", "value"}]}]`, as LLaVA-Instruct has it.

    The `<image>` in the first question is taken out: where the image stands is the prompt's matter. An entry
    without an image is a conversation in words alone.
    """
    for index, entry in _items(path):
        place = f"{path}: entry {index}"
        turns = field(entry, "conversations", list, place)
        said = []
        for turn, (who, expected) in enumerate(zip(turns, ("human", "gpt") * len(turns), strict=False)):
            where = f"{place}: conversations[{turn}]"
            speaker = field(who, "from", str, where)
            if speaker != expected:
                raise AnnotationError(f'{where}: expected "from": "{expected}", got {words_of_json(speaker)}')
            said.append(field(who, "value", str, where))
        if len(said) % 2:
            raise AnnotationError(f"{place}: expected an answer to each question, the last has none")
        pairs = [
            Pair(question.replace("<image>", "").strip(), answer)
            for question, answer in zip(said[::2], said[1::2], strict=True)
        ]
        name = name_of(entry, "id", index, place)
        image = field(entry, "image", str, place) if "image" in entry else None
        yield Annotation(name, image, None, (), tuple(pairs))


def read_rtl_train(path: Path) -> Iterator[Annotation]:
    """Read `{"v_<id>": {"duration", "QA": [{"q", "a"}]}}`, as ActivityNet-RTL's training part has it."""
    for key, entry in _entries(path):
        place = f"{path}: {key}"
        duration = number(entry.get("duration"), f"{place}: duration")
        yield Annotation(key, key, duration, (), _pairs(entry, place))


def read_rtl_val(path: Path) -> Iterator[Annotation]:
    """Read `[{"question_id", "vid", "duration", "question", "answer"}]`, as its validation part has it."""
    for index, entry in _items(path):
        place = f"{path}: entry {index}"
        video = field(entry, "vid", str, place)
        yield Annotation(
            name_of(entry, "question_id", f"{video}_{index}", place),
            f"v_{video}",
            number(entry.get("duration"), f"{place}: duration"),
            (),
            (Pair(field(entry, "question", str, place), field(entry, "answer", str, place)),),
        )


def read_charades_sta(path: Path) -> Iterator[Annotation]:
    """Read lines of `VIDEO START END##sentence.`, seconds, as Charades-STA has them."""
    for line_number, line in text_lines(path):
        if not line.strip():
            continue
        head, mark, sentence = line.rstrip("\n").partition("##")
        parts = head.split()
        where = f"{path}:{line_number}"
        if not mark or len(parts) != 3:
            raise AnnotationError(f"{where}: expected 'VIDEO START END##sentence', got {line.strip()[:80]!r}")
        caption = TimedCaption(number(parts[1], where), number(parts[2], where), sentence.strip())
        yield Annotation(f"{parts[0]}_{line_number}", parts[0], None, (caption,))


def read_qvhighlights(path: Path) -> Iterator[Annotation]:
    """Read JSON lines with `qid`, `query`, `duration`, `vid` and `relevant_windows` as QVHighlights has them.

    The test part withholds the windows: its queries become questions without an answer.
    """
    for line_number, entry in json_lines(path):
        place = f"{path}:{line_number}"
        query = field(entry, "query", str, place)
        withheld = entry.get("relevant_windows") is None
        windows = [] if withheld else field(entry, "relevant_windows", list, place)
        captions = []
        for window in windows:
            if not isinstance(window, list) or len(window) != 2:
                raise AnnotationError(
                    f"{place}: relevant_windows: expected [start, end], got {words_of_json(window)}"
                )
            captions.append(TimedCaption(number(window[0], place), number(window[1], place), query))
        yield Annotation(
            name_of(entry, "qid", line_number, place),
            field(entry, "vid", str, place),
            number(entry.get("duration"), f"{place}: duration"),
            tuple(captions),
            () if captions else (Pair(query, ""),),
        )


def _pairs(entry: dict[str, Any], place: str) -> tuple[Pair, ...]:
    pairs = []
    for index, qa in enumerate(field(entry, "QA", list, place)):
        where = f"{place}: QA[{index}]"
        pairs.append(Pair(field(qa, "q", str, where), field(qa, "a", str, where)))
    return tuple(pairs)


def _entries(path: Path) -> Iterator[tuple[str, dict[str, Any]]]:
    content = read_json(path, object_pairs_hook=_object)
    if not isinstance(content, dict):
        raise AnnotationError(f'{path}: expected an object, {{"<video>": ...}}, got {words_of_json(content)}')
    for key, entry in content.pairs if isinstance(content, _Doubled) else content.items():
        if not isinstance(entry, dict):
            raise AnnotationError(f"{path}: {key}: expected an object, got {words_of_json(entry)}")
        yield text(key, f"{path}: {words_of_json(key)}"), entry


def _items(path: Path) -> Iterator[tuple[int, dict[str, Any]]]:
    content = read_json(path)
    if not isinstance(content, list):
        raise AnnotationError(f"{path}: expected a list of objects, got {words_of_json(content)}")
    for index, entry in enumerate(content):
        if not isinstance(entry, dict):
            raise AnnotationError(f"{path}: entry {index}: expected an object, got {words_of_json(entry)}")
        yield index, entry


def _check_file(path: Path) -> None:
    """Refuse what is no file with something in it: an empty one says nothing, a pipe might for ever."""
    status = path.stat()
    if stat.S_ISDIR(status.st_mode):
        raise AnnotationError(f"{path}: expected an annotation file, got a folder")
    if not stat.S_ISREG(status.st_mode):
        raise AnnotationError(f"{path}: expected an annotation file, got a pipe or device")
    if status.st_size == 0:
        raise AnnotationError(f"{path}: expected annotations, got an empty file (0 bytes)")


class _Doubled(dict[str, Any]):
    """A JSON object in which a name comes twice: a dict would lose the first without a word."""

    def __init__(self, pairs: list[tuple[str, Any]]) -> None:
        super().__init__(pairs)
        self.pairs = pairs


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    plain = dict(pairs)
    return plain if len(plain) == len(pairs) else _Doubled(pairs)


READERS: Mapping[str, ReadFile] = MappingProxyType(
    {
        "captions_json": read_captions,
        "qa_json": read_qa,
        "conversations_json": read_conversations,
        "rtl_train_json": read_rtl_train,
        "rtl_val_json": read_rtl_val,
        "jsonl": read_json_lines,
        "csv": read_csv,
        "webvtt": read_webvtt,
        "elan": read_elan,
        "charades_sta": read_charades_sta,
        "qvhighlights": read_qvhighlights,
    }
)
"""The formats that a manifest may name."""
