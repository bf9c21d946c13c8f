"""Why a run ended, told from texts that libraries really print."""

from pathlib import Path

import pytest

from litakit.training.failures import diagnose

TEXTS = Path(__file__).with_name("crash_texts.txt").read_text().split("\n== ")[1:]
FULL_GPU = "torch.OutOfMemoryError: CUDA out of memory. Tried to allocate 22.78 GiB."


@pytest.mark.parametrize("part", TEXTS, ids=[part.partition(":")[0] for part in TEXTS])
def test_the_cause_is_found_in_what_the_library_prints(part):
    head, _, text = part.partition("\n")
    _, kind, message = head.split(": ", 2)
    found = diagnose(f"step 41\nloss 0.71\n{text}", returncode=1)
    assert found.kind == kind
    assert found.message.startswith(message)
    assert found.hint


@pytest.mark.parametrize(
    ("returncode", "kind", "message"),
    [
        (-9, "out_of_memory", "ended by signal 9 (SIGKILL)"),
        (-7, "shared_memory_full", "ended by signal 7 (SIGBUS)"),
        (-11, "crashed", "ended by signal 11 (SIGSEGV)"),
        (-15, "killed", "ended by signal 15 (SIGTERM)"),
    ],
)
def test_a_signal_counts_more_than_an_error_that_was_survived(returncode, kind, message):
    survived = "FileNotFoundError: [Errno 2] No such file or directory: 'a.mp4'\nskipped it\nstep 9\n"
    found = diagnose(survived, returncode)
    assert (found.kind, found.message) == (kind, message)
    assert diagnose(survived + FULL_GPU, returncode).kind == "out_of_gpu_memory"


def test_a_missing_file_that_was_only_spoken_of_is_no_cause():
    text = "warning: FileNotFoundError: a.mp4 is left out\nValueError: expected 3 spans, got 2\n"
    assert diagnose(text, 1).message == "ValueError: expected 3 spans, got 2"


def test_an_end_without_a_word():
    assert diagnose("", None) is None
    assert diagnose("", 0).message == "ended with exit code 0, nothing in its log"
    assert diagnose("step 7\n", 0).message == "ended with exit code 0, the last line of its log: step 7"
    assert diagnose("bash: litakit: command not found", 127).message == "bash: litakit: command not found"


def test_a_long_line_is_cut():
    assert len(diagnose("ValueError: " + "x" * 10_000, 1).message) == 400
