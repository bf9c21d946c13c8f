"""Jobs: long work as many small pieces, each done whole or failing with a reason, in any order and again."""

from __future__ import annotations

import errno
import time
from collections import Counter, deque
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, Protocol, TypeVar

from litakit.progress import Progress

WAIT_SECONDS = 0.2


class Job(Protocol):
    """One piece of work; a frozen dataclass that can be pickled."""

    @property
    def id(self) -> str:
        """What the piece is called in reports; unique among its kind."""


J_contra = TypeVar("J_contra", bound=Job, contravariant=True)
J = TypeVar("J", bound=Job)


@dataclass(frozen=True)
class JobRecord:
    """How a piece of work ended.

    Attributes:
        id: of the job.
        status: "made" now, "kept" from an earlier run, or "failed".
        reason: why it failed, or what is odd about what was made.
    """

    id: str
    status: Literal["made", "kept", "failed"]
    reason: str = ""


class Work(Protocol[J_contra]):
    """What is done with each job."""

    def __call__(self, job: J_contra) -> JobRecord | None:
        """Do one job; None where another process is at it just now."""


@dataclass(frozen=True)
class JobReport:
    """How a run ended, its records in the order of its jobs; it prints as a line and what went wrong."""

    records: tuple[JobRecord, ...]

    @property
    def failures(self) -> tuple[JobRecord, ...]:
        """The jobs that failed."""
        return tuple(record for record in self.records if record.status == "failed")

    def __str__(self) -> str:
        counts = Counter(record.status for record in self.records)
        head = f"{counts['made']} made, {counts['kept']} there before, {counts['failed']} failed"
        odd = [record for record in self.records if record.status == "made" and record.reason]
        lines = [head, *(f"  {record.id}: {record.reason}" for record in self.failures)]
        if odd:
            lines.append(f"made, though something is odd about {len(odd)}:")
        return "\n".join([*lines, *(f"  {record.id}: {record.reason}" for record in odd)])


def ends_all(error: OSError) -> bool:
    """Whether no further job can be done either: the disk or the quota is full, or cannot be written to.

    >>> ends_all(OSError(errno.ENOSPC, "No space left on device")), ends_all(FileNotFoundError("a"))
    (True, False)
    """
    return error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EROFS)


def run_jobs(work: Work[J], jobs: Sequence[J], progress: Progress | None = None) -> JobReport:
    """Do every job in this process, one after another; a job that another process is at comes again last.

    Args:
        work: does one job; an expected fault is a failed record, what it raises ends the run.
        jobs: to be done.
        progress: called after each.

    >>> from types import SimpleNamespace
    >>> print(run_jobs(lambda job: JobRecord(job.id, "failed", "no"), [SimpleNamespace(id="a")]))
    0 made, 0 there before, 1 failed
      a: no
    """
    records: dict[int, JobRecord] = {}
    waiting = deque(enumerate(jobs))
    busy_in_a_row = 0
    while waiting:
        index, job = waiting.popleft()
        record = work(job)
        if record is None:
            waiting.append((index, job))
            busy_in_a_row += 1
            if busy_in_a_row >= len(waiting):
                time.sleep(WAIT_SECONDS)
            continue
        busy_in_a_row = 0
        records[index] = record
        if progress is not None:
            progress(len(records), len(jobs))
    return JobReport(tuple(records[index] for index in range(len(jobs))))
