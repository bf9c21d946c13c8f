"""The files of a run: written whole, read or refused with a word, and never by way of torch."""

import json
import math
import subprocess
import sys
import threading

import numpy as np
import pytest

from litakit.training.failures import Failure
from litakit.training.run_folder import (
    RunFormatError,
    RunStatus,
    is_stop_asked,
    read_metrics,
    read_status,
    write_record,
)
from litakit.training.run_writer import RunWriter


def test_a_run_from_its_first_word_to_its_last(tmp_path):
    with RunWriter(tmp_path, total_steps=3) as writer:
        first = read_status(tmp_path)
        assert (first.state, first.step, first.total_steps) == ("starting", 0, 3)
        for step in (1, 2, 3):
            writer.append_metrics(step, loss=3 / step, lr=2e-5)
            writer.update(step=step, epoch=step / 3)
            assert read_status(tmp_path).state == "running"
        with writer.saving():
            assert read_status(tmp_path).state == "saving"
        assert read_status(tmp_path).state == "running"
    last = read_status(tmp_path)
    assert (last.state, last.step, last.epoch, last.error) == ("done", 3, 1.0, None)
    assert last.started == first.started <= last.updated
    assert read_metrics(tmp_path) == [{"step": step, "loss": 3 / step, "lr": 2e-5} for step in (1, 2, 3)]


def test_asked_to_stop_it_says_stopped_unless_all_steps_are_taken(tmp_path):
    for steps, state in ((2, "stopped"), (5, "done")):
        folder = tmp_path / state
        with RunWriter(folder, total_steps=5) as writer:
            assert not writer.is_stop_asked
            (folder / "STOP").touch()
            assert writer.is_stop_asked
            assert is_stop_asked(folder)
            writer.update(step=steps)
        assert read_status(folder).state == state


def test_an_exception_is_written_down_with_its_cause_and_goes_on(tmp_path):
    def train() -> None:
        with RunWriter(tmp_path, total_steps=5) as writer:
            writer.update(step=2)
            raise OSError(28, "No space left on device", "checkpoints/2/optimizer.pt")

    with pytest.raises(OSError, match="No space left"):
        train()
    status = read_status(tmp_path)
    assert (status.state, status.step) == ("failed", 2)
    assert status.error == Failure(
        "disk_full",
        "OSError: [Errno 28] No space left on device: 'checkpoints/2/optimizer.pt'",
        "make room, or keep fewer checkpoints, then resume: the last whole checkpoint is still there",
    )


def test_a_fast_training_writes_its_status_at_most_twice_a_second(tmp_path):
    writer = RunWriter(tmp_path, total_steps=2001)
    writer.update(step=1)
    before = (tmp_path / "status.json").stat().st_ino
    for step in range(2, 2000):
        writer.update(step=step)
    assert (tmp_path / "status.json").stat().st_ino == before or writer.status.step == 1999
    assert read_status(tmp_path).step <= 1999
    writer.update(step=2001)  # the last step is said at once
    assert read_status(tmp_path).step == 2001
    writer.finish()
    assert read_status(tmp_path).state == "done"


def test_who_reads_while_it_is_written_sees_whole_files(tmp_path):
    writer = RunWriter(tmp_path, total_steps=300)
    seen, has_ended = [], threading.Event()

    def read() -> None:
        while not has_ended.is_set():
            rows = read_metrics(tmp_path)
            seen.append((read_status(tmp_path).step, [row["step"] for row in rows]))

    reader = threading.Thread(target=read)
    reader.start()
    for step in range(1, 301):
        writer.append_metrics(step, loss=1.0, note="ä" * 200)
        writer.update(step=step)
        writer._write()
    has_ended.set()
    reader.join()
    assert len(seen) > 3
    assert all(steps == list(range(1, len(steps) + 1)) for _, steps in seen)


def test_numbers_of_numpy_and_those_that_are_none_come_back(tmp_path):
    writer = RunWriter(tmp_path)
    writer.append_metrics(1, loss=np.float32(0.5), grad_norm=float("nan"), memory_mb=np.int64(7))
    [row] = read_metrics(tmp_path)
    assert (row["loss"], row["memory_mb"]) == (0.5, 7)
    assert math.isnan(row["grad_norm"])


def test_a_line_that_was_cut_off_is_left_out_and_taken_out_when_the_run_goes_on(tmp_path):
    with RunWriter(tmp_path, total_steps=9) as writer:
        for step in range(1, 6):
            writer.append_metrics(step, loss=1.0)
    metrics = tmp_path / "metrics.jsonl"
    with metrics.open("ab") as file:
        file.write(b'{"step": 6, "lo')
    assert [row["step"] for row in read_metrics(tmp_path)] == [1, 2, 3, 4, 5]
    with RunWriter(tmp_path, total_steps=9, step=3) as writer:  # from the checkpoint of step 3
        assert [row["step"] for row in read_metrics(tmp_path)] == [1, 2, 3]
        writer.append_metrics(4, loss=2.0)
    assert [json.loads(line)["loss"] for line in metrics.read_text().splitlines()] == [1.0, 1.0, 1.0, 2.0]


def test_metrics_that_are_broken_within_are_refused_by_line(tmp_path):
    (tmp_path / "metrics.jsonl").write_text('{"step": 1}\n{"step": 2,}\n{"step": 3}\n')
    with pytest.raises(RunFormatError, match=r"metrics\.jsonl:2: not JSON: "):
        read_metrics(tmp_path)
    with pytest.raises(
        RunFormatError, match=r"metrics\.jsonl:2: .*; move metrics\.jsonl away to go on without it"
    ):
        RunWriter(tmp_path)
    (tmp_path / "metrics.jsonl").write_text("[1]\n")
    with pytest.raises(RunFormatError, match=r"metrics\.jsonl:1: expected a JSON object, got \[1\]"):
        read_metrics(tmp_path)


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("", r"status\.json:1: not JSON: .*; a file cut short or edited by hand\?"),
        ('{"state": "runn', r"status\.json:1: not JSON: .*; a file cut short or edited by hand\?"),
        ('{"state": "running"}', r"status\.json: expected a JSON object with schema_version"),
        ("[]", r"status\.json: expected a JSON object with schema_version"),
        (
            '{"schema_version": 2}',
            r"expected schema_version 1, got 2: a newer litakit wrote it, update this one",
        ),
        ('{"schema_version": 0}', r"expected schema_version 1, got 0: too old to be read"),
        (
            '{"schema_version": 1, "state": "flying"}',
            r"status\.json: not a RunStatus: state: Input should be 'starting'",
        ),
        (
            '{"schema_version": 1, "state": "done", "step": "many"}',
            r"not a RunStatus: step: Input should be a valid integer",
        ),
    ],
)
def test_a_status_that_cannot_be_used_is_refused_with_a_word(tmp_path, content, words):
    (tmp_path / "status.json").write_text(content)
    with pytest.raises(RunFormatError, match=words):
        read_status(tmp_path)


def test_where_there_is_no_run_there_is_no_status(tmp_path):
    with pytest.raises(FileNotFoundError):
        read_status(tmp_path)
    assert read_metrics(tmp_path) == []


def test_a_status_comes_back_as_it_was_written(tmp_path):
    status = RunStatus(
        "failed", 7, 9, 0.5, error=Failure("error", "ä 'x'", ""), started="2026-11-25T10:00:00.000+00:00"
    )
    write_record(tmp_path / "status.json", status)
    assert read_status(tmp_path) == status


def test_neither_torch_nor_pandas_is_loaded():
    modules = (
        "run_folder run_writer runs run_views launching commands extension_locks keeper failures versions"
    )
    code = f"""if True:
        import importlib, sys
        for name in {modules.split()}:
            importlib.import_module("litakit.training." + name)
        print([name for name in ("torch", "pandas", "transformers", "numpy") if name in sys.modules])
    """
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
