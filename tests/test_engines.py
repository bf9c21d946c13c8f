"""Engines: the same records and the same files by each, on this machine and on a Ray cluster."""

import importlib.util
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

import pytest
from filelock import FileLock, Timeout
from typer.testing import CliRunner

from litakit.cli import app
from litakit.data.engines import run
from litakit.data.frames import extract, frame_jobs
from litakit.data.jobs import JobRecord, JobReport
from litakit.data.manifests import load_manifest
from tests.conftest import GOLDEN
from tests.test_encode import MANIFEST, annotate, tree
from tests.video_files import constant_rate

REPOSITORY = GOLDEN.parents[1]


@dataclass(frozen=True)
class NoteJob:
    """A job of another kind than encoding."""

    id: str
    fault: str = ""


@dataclass
class NoteWork:
    """Writes a note for each job, unless another process holds its lock."""

    folder: Path

    def __call__(self, job):
        if job.fault == "raise":
            raise ValueError(f"{job.id}: no work at all")
        if job.fault:
            return JobRecord(job.id, "failed", job.fault)
        try:
            with FileLock(self.folder / f"{job.id}.lock", blocking=False):
                (self.folder / f"{job.id}.txt").write_text(f"{job.id} by {os.getpid()}")
        except Timeout:
            return None
        return JobRecord(job.id, "made", "ünïcödé")


JOBS = [NoteJob(str(number), "it is odd" if number % 5 == 3 else "") for number in range(11)]
EXPECTED = JobReport(
    tuple(
        JobRecord(job.id, "failed", job.fault) if job.fault else JobRecord(job.id, "made", "ünïcödé")
        for job in JOBS
    )
)


def python(code, *arguments):
    """Run some words in a process of their own: Daft can be set once in one."""
    command = [sys.executable, "-c", f"import sys; from tests.test_engines import *; {code}"]
    return subprocess.run(
        [*command, *map(str, arguments)],
        check=False,
        cwd=REPOSITORY,
        env=os.environ | {"OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        timeout=500,
    )


def by_daft(folder, *options):
    """Every kind of job, by an engine; one is locked by another process for a second."""
    lock = FileLock(Path(folder) / "4.lock")
    lock.acquire()
    holder = subprocess.Popen(
        [sys.executable, "-c", HOLDER, str(Path(folder) / "5.lock")], stdout=subprocess.PIPE, text=True
    )
    holder.stdout.readline()
    lock.release()
    steps = []
    given = dict(option.split("=") for option in options)
    report = run(
        NoteWork(Path(folder)),
        JOBS,
        engine="daft",
        ray_address=given.get("ray_address"),
        num_workers=int(given["num_workers"]) if "num_workers" in given else None,
        progress=lambda done, total: steps.append((done, total)),
    )
    holder.wait()
    assert report == EXPECTED, report
    assert steps == [(done, len(JOBS)) for done in range(1, len(JOBS) + 1)]
    assert {os.environ["DAFT_ANALYTICS_ENABLED"], os.environ["RAY_USAGE_STATS_ENABLED"]} == {"0"}
    try:
        run(
            NoteWork(Path(folder)),
            [NoteJob("bad", "raise")],
            engine="daft",
            ray_address=given.get("ray_address"),
        )
    except ValueError as error:
        sys.stdout.write(f"raised: {error}\n")


HOLDER = """
import sys, time
from filelock import FileLock
with FileLock(sys.argv[1]):
    print("held", flush=True)
    time.sleep(1)
"""


def test_the_local_engine_is_run_jobs(tmp_path):
    steps = []
    assert run(NoteWork(tmp_path), JOBS, progress=lambda *step: steps.append(step)) == EXPECTED
    assert steps == [(done, len(JOBS)) for done in range(1, len(JOBS) + 1)]


@pytest.mark.slow
@pytest.mark.parametrize("workers", [1, 2])
def test_daft_does_any_work_here_and_gives_what_it_raises(tmp_path, workers):
    result = python("by_daft(*sys.argv[1:])", tmp_path, f"num_workers={workers}")
    assert result.returncode == 0, result.stderr
    assert result.stdout == "raised: bad: no work at all\n"
    written = [(tmp_path / f"{job.id}.txt").read_text().split(" by ") for job in JOBS if not job.fault]
    assert [name for name, _ in written] == [job.id for job in JOBS if not job.fault]
    assert len({pid for _, pid in written}) <= workers


@pytest.mark.slow
def test_no_jobs_are_no_work(tmp_path):
    result = python("print(run(NoteWork(Path(sys.argv[1])), [], engine='daft'))", tmp_path)
    assert result.stdout == "0 made, 0 there before, 0 failed\n"


@pytest.mark.parametrize("missing", ["daft", "ray"])
def test_without_the_extra_it_says_how_to_get_it(tmp_path, monkeypatch, missing):
    find = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == missing else find(name))
    message = f"engine 'daft' needs {missing}, which is not installed: pip install 'litakit[scale]'"
    with pytest.raises(ImportError) as raised:
        run(NoteWork(tmp_path), JOBS, engine="daft", ray_address="127.0.0.1:1")
    assert str(raised.value) == message
    (tmp_path / "own.yaml").write_text(MANIFEST)
    annotate(tmp_path, train=["a"])
    options = ["--model", "tiny", "--root", str(tmp_path), "--engine", "daft", "--ray-address", "127.0.0.1:1"]
    result = CliRunner().invoke(app, ["data", "features", str(tmp_path / "own.yaml"), *options])
    assert result.exit_code == 2
    assert result.stderr.splitlines()[-1] == f"litakit: {message}"


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"engine": "spark"}, "engine must be one of local, daft, got 'spark'"),
        ({"num_workers": 2}, "ray_address, num_workers and gpus_per_worker are for engine 'daft'"),
        ({"ray_address": "127.0.0.1:6379"}, "are for engine 'daft'"),
        ({"engine": "daft", "gpus_per_worker": 1}, "gpus_per_worker is for a Ray cluster: give its ray_addr"),
        ({"engine": "daft", "ray_address": "auto"}, "ray_address must be host:port, got 'auto'"),
    ],
)
def test_options_that_do_not_go_together_are_refused(tmp_path, options, message):
    with pytest.raises(ValueError, match=message):
        run(NoteWork(tmp_path), JOBS, **options)


def test_a_cluster_that_does_not_answer_is_said_at_once(tmp_path):
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{unused.getsockname()[1]}"
        started = time.monotonic()
        with pytest.raises(ConnectionError, match=f"no Ray cluster answers at {address}"):
            run(NoteWork(tmp_path), JOBS, engine="daft", ray_address=address)
    assert time.monotonic() - started < 60


# Encoding, by every engine, with a corrupt file in the set


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    root = tmp_path_factory.mktemp("root")
    (root / "set").mkdir()
    names = [f"v{number}" for number in range(6)]
    for number, name in enumerate(names):
        constant_rate(root / "set" / f"{name}.mp4", 25, 20 + number)
    corrupt = root / "set" / "v2.mp4"
    corrupt.write_bytes(corrupt.read_bytes()[:700])
    annotate(root, train=[*names, "gone"])
    (root / "own.yaml").write_text(MANIFEST)
    return root


@pytest.fixture(scope="module")
def ray_address(tmp_path_factory):
    """A Ray cluster of one node, started here and ended here, that tells nobody of itself."""
    folder = tmp_path_factory.mktemp("ray")
    # Ports of its own; and given all of them, it does not wait for its helpers to choose, in vain if slow.
    ports = ["port", "ray-client-server-port", "metrics-export-port", "runtime-env-agent-port"]
    ports += ["dashboard-agent-grpc-port", "dashboard-agent-listen-port"]
    free = dict(zip(ports, free_ports(len(ports)), strict=True))
    # Its sockets' names must be short; and a token that it may make stays out of the home.
    place = Path(f"/tmp/litakit-ray-{os.getpid()}")
    environment = os.environ | {
        "RAY_USAGE_STATS_ENABLED": "0",
        "RAY_AUTH_MODE": "disabled",
        "HOME": str(folder),
    }
    with (folder / "log.txt").open("w+") as log:
        head = subprocess.Popen(
            [
                *(Path(sys.executable).with_name("ray"), "start", "--head", "--block"),
                *(text for name, port in free.items() for text in (f"--{name}", str(port))),
                *("--temp-dir", str(place), "--num-cpus", "2", "--num-gpus", "0"),
                *("--object-store-memory", "100000000", "--include-dashboard", "false"),
                *("--include-log-monitor", "false", "--disable-usage-stats"),
            ],
            stdout=log,
            stderr=subprocess.STDOUT,
            env=environment,
        )
        try:
            until = time.monotonic() + 120
            while "Ray runtime started" not in (said := (folder / "log.txt").read_text()):
                assert head.poll() is None, said
                assert time.monotonic() < until, said
                time.sleep(0.1)
            yield f"127.0.0.1:{free['port']}"
        finally:
            head.send_signal(signal.SIGTERM)
            head.wait(60)
            shutil.rmtree(place, ignore_errors=True)


def free_ports(count):
    sockets = [socket.socket() for _ in range(count)]
    try:
        for one in sockets:
            one.bind(("", 0))
        return [one.getsockname()[1] for one in sockets]
    finally:
        for one in sockets:
            one.close()


def features(root, out, *options):
    """What `litakit data features` prints, and the folder that it makes."""
    result = subprocess.run(
        [
            *(
                sys.executable,
                "-m",
                "litakit",
                "data",
                "features",
                str(root / "own.yaml"),
                "--root",
                str(root),
            ),
            *("--model", "tiny", "--device", "cpu", "--features", str(out), "--split", "train", *options),
        ],
        check=False,
        cwd=REPOSITORY,
        env=os.environ | {"OMP_NUM_THREADS": "1", "RAY_AUTH_MODE": "disabled"},
        capture_output=True,
        text=True,
        timeout=500,
    )
    return result.returncode, result.stdout, result.stderr


@pytest.mark.slow
def test_every_engine_gives_the_same_bit_for_bit(root, tmp_path, ray_address):
    engines = {
        "local": (),
        "daft": ("--engine", "daft"),
        "processes": ("--engine", "daft", "--workers", "2"),
        "ray": ("--engine", "daft", "--ray-address", ray_address, "--workers", "2"),
    }
    said, made = {}, {}
    for name, options in engines.items():
        code, said[name], err = features(root, tmp_path / name, *options)
        assert code == 1, err
        made[name] = tree(tmp_path / name)
    head, *failures = said["local"].splitlines()
    assert head == "5 made, 0 there before, 2 failed"
    assert [line.partition(":")[0].strip() for line in failures] == ["set/v2.mp4", "set/gone.mp4"]
    assert len(made["local"]) == 1 + 2 * 5
    for name in engines:
        assert said[name] == said["local"], name
        assert made[name] == made["local"], name
    # And what one has made the others keep.
    assert features(root, tmp_path / "local", *engines["ray"])[1].startswith(
        "0 made, 5 there before, 2 failed"
    )


def frames_by_daft(root, videos, *manifests):
    jobs = frame_jobs([load_manifest(path) for path in manifests], root, videos)
    sys.stdout.write(str(run(extract, jobs, engine="daft", num_workers=2)))


@pytest.mark.slow
def test_frames_are_made_by_daft_as_here(root, tmp_path):
    text = MANIFEST.replace("{kind: video, folder: set, suffixes: [.mp4, .webm]}", FRAMES)
    (tmp_path / "frames.yaml").write_text(text)
    made = {}
    for name in ("local", "daft"):
        place = tmp_path / name
        place.mkdir()
        annotate(place, train=["v0", "v1", "v2"])
        if name == "local":
            jobs = frame_jobs([load_manifest(tmp_path / "frames.yaml")], place, root / "set")
            said = str(run(extract, jobs))
        else:
            result = python("frames_by_daft(*sys.argv[1:])", place, root / "set", tmp_path / "frames.yaml")
            said = result.stdout
        assert said.startswith("2 made, 0 there before, 1 failed\n  frames/v2: "), said
        made[name] = tree(place)
    assert made["daft"] == made["local"]
    assert sum(path.endswith(".jpg") for path in made["local"]) >= 8


FRAMES = "{kind: frames, folder: frames, fps: 5}"


@pytest.mark.slow
def test_on_a_cluster_too_it_does_any_work_and_gives_what_it_raises(tmp_path, ray_address):
    result = python("by_daft(*sys.argv[1:])", tmp_path, f"ray_address={ray_address}", "num_workers=2")
    assert result.returncode == 0, result.stderr
    assert result.stdout == "raised: bad: no work at all\n"
    assert all((tmp_path / f"{job.id}.txt").exists() for job in JOBS if not job.fault)


@pytest.mark.slow
def test_daft_is_set_once_in_a_process(tmp_path, ray_address):
    code = "work = NoteWork(Path(sys.argv[1])); run(work, JOBS, engine='daft'); "
    code += "run(work, JOBS, engine='daft', ray_address=sys.argv[2])"
    result = python(code, tmp_path, ray_address)
    assert result.returncode == 1
    assert result.stderr.splitlines()[-1] == (
        "RuntimeError: Daft was used in another way in this process before, on this machine or on a cluster, "
        "and cannot change: start a new process"
    )
