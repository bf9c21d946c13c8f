"""Engines: what does jobs: this process, or Daft with many, on one machine or on a Ray cluster."""

from __future__ import annotations

import importlib.util
import logging
import os
import socket
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from types import MappingProxyType
from typing import Any, Literal, TypeVar, get_args

from litakit.data.jobs import Job, JobRecord, JobReport, Work, run_jobs
from litakit.progress import Progress

Engine = Literal["local", "daft"]

BATCH_JOBS = 4
"""Jobs that a worker takes at a time."""
MAX_PARTITIONS = 4096
"""Pieces that the jobs of a Ray cluster are cut into; progress comes by pieces."""
CONNECT_SECONDS = 10.0
ENVIRONMENT = MappingProxyType(
    {
        # Neither reports to its makers.
        "DAFT_ANALYTICS_ENABLED": "0",
        "RAY_USAGE_STATS_ENABLED": "0",
        # Our bar is the only one; and Daft asks Ray for its dashboard in a way that Ray complains of.
        "DAFT_PROGRESS_BAR": "0",
        "RAY_DISABLE_DASHBOARD": "1",
    }
)
"""Set in this process before Daft and Ray are loaded, and in those of a cluster, unless it is set already."""

J = TypeVar("J", bound=Job)


def run(
    work: Work[J],
    jobs: Sequence[J],
    *,
    engine: Engine = "local",
    ray_address: str | None = None,
    num_workers: int | None = None,
    gpus_per_worker: float = 0.0,
    progress: Progress | None = None,
) -> JobReport:
    """Do every job, by an engine; the records, in the order of the jobs, and all files are the same by each.

    Args:
        work: does one job; for "daft" it can be pickled. An expected fault is a failed record, what it raises
            ends the run.
        jobs: to be done.
        engine: "local" is `run_jobs`, in this process. "daft" goes through Daft (`pip install
            'litakit[scale]'`): workers in processes of their own, each with its own copy of the work.
        ray_address: of a Ray cluster, "host:port", that Daft takes instead of this machine. Its machines need
            litakit in the same version, and the folders of the work under the same paths.
        num_workers: processes at once, for "daft". By default one (a decoder uses every core of its machine);
            on a Ray cluster one for each machine, or, where workers have GPUs, as many as there are GPUs for.
        gpus_per_worker: GPUs, or the share of one, that a worker on a Ray cluster gets; it sees no others.
        progress: called as jobs are done.

    Raises:
        ImportError: Daft or Ray is not installed.
        ConnectionError: there is no Ray cluster at the address.
        ValueError: options that do not go together.
        RuntimeError: Daft was set up in this process for something else.

    >>> from types import SimpleNamespace
    >>> print(run(lambda job: JobRecord(job.id, "made"), [SimpleNamespace(id="a")]))
    1 made, 0 there before, 0 failed
    """
    if engine not in get_args(Engine):
        raise ValueError(f"engine must be one of {', '.join(get_args(Engine))}, got {engine!r}")
    if engine == "local":
        if ray_address is not None or num_workers not in (None, 1) or gpus_per_worker:
            raise ValueError(
                "ray_address, num_workers and gpus_per_worker are for engine 'daft'; several processes of "
                "engine 'local' may be started at once"
            )
        return run_jobs(work, jobs, progress)
    if gpus_per_worker and ray_address is None:
        raise ValueError("gpus_per_worker is for a Ray cluster: give its ray_address")
    return _run_daft(work, jobs, ray_address, num_workers, gpus_per_worker, progress)


def _run_daft(
    work: Work[J],
    jobs: Sequence[J],
    ray_address: str | None,
    num_workers: int | None,
    gpus_per_worker: float,
    progress: Progress | None,
) -> JobReport:
    daft = _load_daft(ray_address)
    workers = num_workers or (1 if ray_address is None else _count_ray_workers(gpus_per_worker))
    if not jobs:
        return JobReport(())
    frame = daft.from_pydict({"index": list(range(len(jobs))), "job": list(jobs)})
    if ray_address is not None:
        frame = frame.into_partitions(min(MAX_PARTITIONS, -(-len(jobs) // BATCH_JOBS)))
    # One worker on this machine needs no process; several would wait for each other in one.
    in_processes = None if ray_address is not None else workers > 1
    work_on = _udf(daft, work, workers, gpus_per_worker, in_processes)
    records: dict[int, JobRecord] = {}
    with _plain_errors(ray_address):
        for row in frame.select(frame["index"], work_on(frame["job"]).alias("record")).iter_rows(None):
            records[row["index"]] = JobRecord(**row["record"])
            if progress is not None:
                progress(len(records), len(jobs))
    return JobReport(tuple(records[index] for index in range(len(jobs))))


def _udf(daft: Any, work: Work[J], num_workers: int, gpus: float, in_processes: bool | None) -> Any:
    """The work as a function of Daft, from a column of jobs to one of records."""
    text = daft.DataType.string()

    @daft.cls(max_concurrency=num_workers, gpus=gpus, use_process=in_processes)
    class Worker:
        """The work, in a process that does it."""

        def __init__(self, work: Work[J]) -> None:
            self.work = work

        @daft.method.batch(
            return_dtype=daft.DataType.struct({"id": text, "status": text, "reason": text}),
            batch_size=BATCH_JOBS,
        )
        def do(self, jobs: Any) -> list[dict[str, str]]:
            # Those that others are at are waited for here.
            return [asdict(record) for record in run_jobs(self.work, jobs.to_pylist()).records]

    return Worker(work).do


def _load_daft(ray_address: str | None) -> Any:
    """Daft, set to run on this machine or on a cluster.

    It can be set once in a process.
    """
    for module in ("daft",) if ray_address is None else ("daft", "ray"):
        if importlib.util.find_spec(module) is None:
            raise ImportError(
                f"engine 'daft' needs {module}, which is not installed: pip install 'litakit[scale]'"
            )
    for name, value in ENVIRONMENT.items():
        os.environ.setdefault(name, value)
    import daft

    kind = "native" if ray_address is None else "ray"
    if ray_address is not None:
        _connect(ray_address)
        daft.set_runner_ray(noop_if_initialized=True)
    if daft.get_or_infer_runner_type() != kind:
        raise RuntimeError(
            "Daft was used in another way in this process before, on this machine or on a cluster, "
            "and cannot change: start a new process"
        )
    return daft


def _connect(ray_address: str) -> None:
    import ray

    if ray.is_initialized():
        return
    _check_reachable(ray_address)
    passed_on = (*ENVIRONMENT, "OMP_NUM_THREADS")
    environment = {name: os.environ[name] for name in passed_on if name in os.environ}
    package = Path(__file__).parents[2]
    if package.name not in ("site-packages", "dist-packages"):  # a checkout: workers find it where we did
        paths = [str(package), *filter(None, [os.environ.get("PYTHONPATH")])]
        environment["PYTHONPATH"] = os.pathsep.join(paths)
    ray.init(
        address=ray_address,
        log_to_driver=False,
        logging_level=logging.WARNING,
        runtime_env={"env_vars": environment},
    )


def _check_reachable(ray_address: str) -> None:
    """Ray itself tries for minutes, and says little then."""
    host, colon, port = ray_address.removeprefix("ray://").rpartition(":")
    if not colon or not port.isdecimal():
        raise ValueError(f"ray_address must be host:port, got {ray_address!r}")
    try:
        socket.create_connection((host, int(port)), CONNECT_SECONDS).close()
    except (OSError, OverflowError) as error:
        raise ConnectionError(f"no Ray cluster answers at {ray_address} ({error})") from error


@contextmanager
def _plain_errors(ray_address: str | None) -> Iterator[None]:
    """Raise what the work raised on a cluster, without the stack of every process that it came through."""
    if ray_address is None:
        yield
        return
    from ray.exceptions import RayTaskError

    try:
        yield
    except RayTaskError as error:
        cause: BaseException = error
        while isinstance(cause, RayTaskError) and cause.cause is not None:
            cause = cause.cause
        raise cause from error


def _count_ray_workers(gpus_per_worker: float) -> int:
    import ray

    if gpus_per_worker:
        return max(1, int(ray.cluster_resources().get("GPU", 0) / gpus_per_worker))
    return sum(node["Alive"] for node in ray.nodes())
