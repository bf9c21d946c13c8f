"""What a data check found, as tables in a terminal and a notebook, and as JSON that can be read again."""

from __future__ import annotations

import json
import os
from collections import Counter
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from html import escape
from typing import Any, NamedTuple

from litakit.files import write_atomic
from litakit.rows import read_json

SCHEMA_VERSION = 1
SHOWN = 10
SHOWN_AS_HTML = 100

KINDS = {
    "unreadable annotations": "the annotation file cannot be read",
    "missing": "no such video",
    "unreadable": "the video cannot be opened",
    "damaged": "the video opens, but is damaged in part or at odds with itself",
    "duration": "the duration is off by more than 2 %",
    "outside": "a span outside the video",
    "reversed": "a span that ends before it starts",
    "empty": "empty text",
    "duplicate": "an id that comes twice",
    "leak": "a video of a training and of an evaluation part",
}
"""The kinds of problems, in words."""


class Problem(NamedTuple):
    """One thing that is wrong: a kind, the id of the annotation or video, and what was found."""

    kind: str
    id: str
    reason: str


@dataclass(frozen=True)
class PartCoverage:
    """What of one part of a data set is there.

    Attributes:
        dataset: name of the manifest.
        split: of the part.
        tasks: what the part is for.
        files: its annotation files below the root; empty where there are none, and so nothing else is known.
        expected: annotations by the manifest; None where it does not say.
        expected_videos: videos by the manifest; None where it does not say.
        annotated: annotations in the files: events, questions, or conversations.
        annotated_videos: different videos that they name.
        found: of those, the ones that are there and can be opened.
        problems: what is wrong.
    """

    dataset: str
    split: str
    tasks: tuple[str, ...]
    files: tuple[str, ...]
    expected: int | None
    expected_videos: int | None
    annotated: int
    annotated_videos: int
    found: int
    problems: tuple[Problem, ...]

    @property
    def name(self) -> str:
        """Data set, split and tasks, in words."""
        return f"{self.dataset} {self.split} ({', '.join(self.tasks)})"

    @property
    def counts(self) -> dict[str, int]:
        """How many problems there are of each kind that occurs."""
        found = Counter(problem.kind for problem in self.problems)
        return {kind: found[kind] for kind in KINDS if found[kind]}


@dataclass(frozen=True)
class CoverageReport:
    """What of several data sets is there; it prints as a table.

    Attributes:
        root: the data root.
        parts: what of each part is there.
        judged: the evaluation parts whose videos no training part should have; other shipped data sets'
            among them, where their annotation files are below the root.
    """

    root: str
    parts: tuple[PartCoverage, ...]
    judged: tuple[str, ...] = ()

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> CoverageReport:
        """Read a report that was saved.

        Raises:
            ValueError: not a report, or one of another version.
            OSError: the file cannot be read.
        """
        record = read_json(path)
        if not isinstance(record, dict) or not {"schema_version", "root", "parts"} <= set(record):
            raise ValueError(f"{path}: expected a report of `litakit data check`, got something else")
        version = record["schema_version"]
        if version != SCHEMA_VERSION:
            raise ValueError(
                f"{path}: the report is of schema {version}, expected {SCHEMA_VERSION}: check the data again"
            )
        try:
            parts = tuple(_read_part(part) for part in record["parts"])
            return cls(record["root"], parts, tuple(record["judged"]))
        except (TypeError, KeyError) as error:
            raise ValueError(
                f"{path}: a broken report of `litakit data check` ({type(error).__name__}: {error})"
            ) from error

    def over(self, older: CoverageReport) -> CoverageReport:
        """Return this report, with those parts of an older one of the same root that it says nothing of."""
        if older.root != self.root:
            return self
        known = {(part.dataset, part.split, part.tasks) for part in self.parts}
        kept = [part for part in older.parts if (part.dataset, part.split, part.tasks) not in known]
        judged = tuple(dict.fromkeys((*older.judged, *self.judged)))
        return CoverageReport(self.root, (*kept, *self.parts), judged)

    @property
    def ok(self) -> bool:
        """Whether nothing is wrong with what is there."""
        return not any(part.problems for part in self.parts)

    @property
    def comparison(self) -> str:
        """With which evaluation parts' videos the training parts' were compared, as a sentence."""
        if not self.judged:
            return "There is no evaluation part here to compare training videos with."
        return f"Training videos were compared with those of {', '.join(self.judged)}."

    def summary(self) -> dict[str, Any]:
        """Return what a result made from these data should say of them: counts, and no ids.

        Parts without annotation files are left out.
        """
        parts = [
            {
                "dataset": part.dataset,
                "split": part.split,
                "tasks": list(part.tasks),
                "expected": part.expected,
                "annotated": part.annotated,
                "expected_videos": part.expected_videos,
                "annotated_videos": part.annotated_videos,
                "found": part.found,
                "problems": part.counts,
            }
            for part in self.parts
            if part.files
        ]
        return {"schema_version": SCHEMA_VERSION, "judged": list(self.judged), "parts": parts}

    def to_json(self) -> str:
        """Return the report as JSON, each problem with its id."""
        parts = [
            {**asdict(part), "problems": [problem._asdict() for problem in part.problems]}
            for part in self.parts
        ]
        record = {
            "schema_version": SCHEMA_VERSION,
            "root": self.root,
            "judged": self.judged,
            "parts": parts,
        }
        text = json.dumps(record, ensure_ascii=False, indent=1)
        # Names of files need not be UTF-8; what is not is escaped, which JSON reads back as it was.
        return text.encode("utf-8", "backslashreplace").decode()

    def save(self, path: str | os.PathLike[str]) -> os.PathLike[str]:
        """Write the report as JSON, whole or not at all."""
        return write_atomic(path, self.to_json() + "\n")

    def rows(self) -> list[list[str]]:
        """Return the table: a head, and a row for each part."""
        head = ["data set", "split", "tasks", "annotations", "videos", "found", "problems"]
        return [head, *(_row(part) for part in self.parts)]

    def problem_lines(self, most: int = SHOWN) -> list[str]:
        """Return the problems by part, kind and id, as lines for a terminal; of each kind the first ones."""
        lines = []
        for part in self.parts:
            for kind, problems in _by_kind(part):
                lines += ["", f"{part.name}: {KINDS[kind]}"]
                lines += [
                    f"  {visible(problem.id)}: {visible(problem.reason)}" for problem in problems[:most]
                ]
                if len(problems) > most:
                    lines.append(f"  and {len(problems) - most} more; the report as JSON lists all")
        return lines

    def __str__(self) -> str:
        rows = self.rows()
        widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
        lines = [
            "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
            for row in rows
        ]
        return "\n".join([*lines, self.comparison])

    def _repr_html_(self) -> str:
        head, *rows = self.rows()
        cells = "".join(f"<th>{escape(cell)}</th>" for cell in head)
        body = "".join("<tr>" + "".join(f"<td>{escape(cell)}</td>" for cell in row) + "</tr>" for row in rows)
        details = "".join(_details(part) for part in self.parts if part.problems)
        table = f"<table><thead><tr>{cells}</tr></thead><tbody>{body}</tbody></table>"
        return f"{table}<p>{escape(self.comparison)}</p>{details}"


def visible(text: str) -> str:
    r"""Return a text for one line of a terminal: what does not print is escaped.

    >>> print(visible("v_é\x1b[2J\n"))
    v_é\x1b[2J\n
    """
    return "".join(
        character if character.isprintable() else character.encode("unicode_escape").decode()
        for character in text
    )


def _read_part(part: dict[str, Any]) -> PartCoverage:
    return PartCoverage(
        **{
            **part,
            "tasks": tuple(part["tasks"]),
            "files": tuple(part["files"]),
            "problems": tuple(Problem(**problem) for problem in part["problems"]),
        }
    )


def _by_kind(part: PartCoverage) -> Iterator[tuple[str, list[Problem]]]:
    for kind in part.counts:
        yield kind, [problem for problem in part.problems if problem.kind == kind]


def _details(part: PartCoverage) -> str:
    lists = []
    for kind, problems in _by_kind(part):
        items = [
            f"<li><code>{escape(visible(problem.id))}</code>: {escape(visible(problem.reason))}</li>"
            for problem in problems[:SHOWN_AS_HTML]
        ]
        if len(problems) > SHOWN_AS_HTML:
            items.append(f"<li>and {len(problems) - SHOWN_AS_HTML} more; the report as JSON lists all</li>")
        lists.append(f"<p>{len(problems)} {kind}: {escape(KINDS[kind])}</p><ul>{''.join(items)}</ul>")
    summary = f"{escape(part.name)}: {len(part.problems)} problems"
    return f"<details><summary>{summary}</summary>{''.join(lists)}</details>"


def _row(part: PartCoverage) -> list[str]:
    start = [part.dataset, part.split, ", ".join(part.tasks)]
    if not part.files and not part.problems:
        return [*start, "-", "-", "-", "no annotation file here"]
    return [
        *start,
        f"{part.annotated}" + (f" of {part.expected}" if part.expected is not None else ""),
        f"{part.annotated_videos}"
        + (f" of {part.expected_videos}" if part.expected_videos is not None else ""),
        f"{part.found} ({part.found / max(1, part.annotated_videos):.0%})",
        ", ".join(f"{count} {kind}" for kind, count in part.counts.items()) or "none",
    ]
