"""Annotation tools' files: WebVTT cues and ELAN's .eaf, one file a video."""

from __future__ import annotations

import re
import xml.etree.ElementTree as ET  # expat refuses entities that grow
from collections.abc import Iterator
from pathlib import Path, PureWindowsPath
from urllib.parse import unquote

from litakit.data._fields import words_of_json
from litakit.data.annotations import Annotation, AnnotationError, TimedCaption
from litakit.rows import text_lines

TIME = r"(?:([0-9]{2,6}):)?([0-5][0-9]):([0-5][0-9]\.[0-9]{3})"
CUE = re.compile(rf"^{TIME}[ \t]+-->[ \t]+{TIME}(?:[ \t].*)?$")
MARKUP = re.compile(r"<[^>]*>")
MILLISECONDS = re.compile(r"[0-9]{1,12}")


def read_webvtt(path: Path) -> Iterator[Annotation]:
    """Read the cues of a WebVTT file; the video is called as the file is."""
    lines = [line.rstrip("\n") for _, line in text_lines(path)]
    if not lines or not re.match(r"WEBVTT([ \t]|$)", lines[0]):
        raise AnnotationError(
            f"{path}:1: expected WEBVTT in the first line, got {(lines or ['an empty file'])[0][:80]!r}"
        )
    captions: list[TimedCaption] = []
    words: list[str] | None = None
    start = end = 0.0
    for line_number, line in enumerate([*lines, ""], 1):
        if "-->" in line:
            match = CUE.match(line.strip())
            if match is None:
                raise AnnotationError(
                    f"{path}:{line_number}: expected 'HH:MM:SS.mmm --> HH:MM:SS.mmm', got {line.strip()!r}"
                )
            hit = match.groups(default="0")
            start, end, words = _seconds(*hit[:3]), _seconds(*hit[3:]), []
        elif line.strip():
            if words is not None:
                words.append(MARKUP.sub("", line).strip())
        elif words is not None:
            captions.append(TimedCaption(start, end, " ".join(words)))
            words = None
    yield Annotation(path.stem, path.stem, None, tuple(captions))


def read_elan(path: Path) -> Iterator[Annotation]:
    """Read the aligned annotations of an ELAN file, all tiers, by their start.

    The video is called as the first media file that it names is, without the ending; else as the file itself.
    """
    try:
        root = ET.parse(path).getroot()  # noqa: S314  see the import
    except ET.ParseError as error:
        line = error.position[0]
        raise AnnotationError(f"{path}:{line}: not XML: {error.msg}") from error
    except (ValueError, LookupError) as error:  # an encoding that nobody knows, or that XML cannot be in
        raise AnnotationError(f"{path}: not readable XML: {error}") from error
    if root.tag != "ANNOTATION_DOCUMENT":
        raise AnnotationError(f"{path}: expected an ANNOTATION_DOCUMENT, as ELAN writes, got {root.tag}")
    units = {header.get("TIME_UNITS", "milliseconds") for header in root.iter("HEADER")}
    if units - {"milliseconds"}:
        raise AnnotationError(f"{path}: expected times in milliseconds, got {', '.join(sorted(units))}")
    slots = {slot.get("TIME_SLOT_ID"): slot.get("TIME_VALUE") for slot in root.iter("TIME_SLOT")}
    captions = []
    for aligned in root.iter("ALIGNABLE_ANNOTATION"):
        times = []
        for end in ("TIME_SLOT_REF1", "TIME_SLOT_REF2"):
            value = slots.get(aligned.get(end))
            name = aligned.get("ANNOTATION_ID", "?")
            if value is None:
                raise AnnotationError(
                    f"{path}: annotation {name}: its {end} has no time; align it in ELAN first"
                )
            if not MILLISECONDS.fullmatch(value):
                got = words_of_json(value)
                raise AnnotationError(
                    f"{path}: annotation {name}: expected milliseconds at its {end}, got {got}"
                )
            times.append(int(value) / 1000)
        captions.append(
            TimedCaption(times[0], times[1], (aligned.findtext("ANNOTATION_VALUE") or "").strip())
        )
    media = next((found.get("MEDIA_URL", "") for found in root.iter("MEDIA_DESCRIPTOR")), "")
    video = PureWindowsPath(unquote(media)).stem or path.stem
    yield Annotation(path.stem, video, None, tuple(sorted(captions, key=lambda caption: caption[:2])))


def _seconds(hours: str, minutes: str, seconds: str) -> float:
    return int(hours) * 3600 + int(minutes) * 60 + float(seconds)
