"""The commands that train: on this machine, on several, and as text that a shell reads back as it was."""

import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from litakit.training.commands import (
    deepspeed_command,
    hostfile_text,
    python_command,
    sbatch_script,
    shell_text,
    torchrun_command,
)

ENTRY = ["-m", "litakit.training.main"]
SCONTROL = "#!/bin/sh\nprintf 'node-a\\nnode-b\\n'\n"
# Takes what srun is given one a line, so that the test sees each word as the program would; then it trains.
SRUN = """#!/bin/sh
printf '%s\\n' "$@" > words
echo trained
for second in 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 20; do
    test -e "$FOLDER/STOP" && { echo saved; exit 3; }
    test -n "$QUICK" && exit 0
    sleep 0.1
done
"""


def test_one_process_needs_python_alone():
    assert python_command("runs/a") == [sys.executable, *ENTRY, "runs/a"]


def test_torchrun_on_one_machine_and_on_several():
    one = torchrun_command("runs/a", num_processes=8)
    assert Path(one[0]).name == "torchrun"
    assert one[1:] == ["--standalone", "--nproc-per-node", "8", *ENTRY, "runs/a"]
    two = torchrun_command("runs/a", num_processes=8, num_nodes=2, endpoint="node1:29500")
    assert two[1:] == [
        *("--nnodes", "2", "--rdzv-backend", "c10d", "--rdzv-endpoint", "node1:29500", "--rdzv-id", "a"),
        *("--nproc-per-node", "8", *ENTRY, "runs/a"),
    ]
    with pytest.raises(ValueError, match="2 nodes need an endpoint to meet at, such as 'node1:29500'"):
        torchrun_command("runs/a", num_processes=8, num_nodes=2)
    with pytest.raises(ValueError, match="expected at least 1 process on 1 node, got 0 on 1"):
        torchrun_command("runs/a", num_processes=0)


def test_deepspeeds_launcher_on_one_machine_and_on_those_of_a_hostfile():
    assert deepspeed_command("runs/a", num_processes=4, port=29600)[1:] == [
        *("--num_gpus", "4", "--master_port", "29600", "--no_local_rank", "--module", ENTRY[1], "runs/a"),
    ]
    several = deepspeed_command("runs/a", num_processes=8, hostfile="hosts", entry=["train.py"])
    assert several[1:3] == ["--hostfile", "hosts"]
    assert several[-3:] == ["--no_local_rank", "train.py", "runs/a"]


def test_a_hostfile_names_nodes_and_slots():
    text = hostfile_text({"node1": 8, "10.0.0.2": 4})
    assert text == "node1 slots=8\n10.0.0.2 slots=4\n"
    # as DeepSpeed reads a line
    assert [re.search(r"^(\S+)\s+slots=(\d+)", line).groups() for line in text.splitlines()] == [
        ("node1", "8"),
        ("10.0.0.2", "4"),
    ]
    with pytest.raises(ValueError, match="expected at least one node, got none"):
        hostfile_text({})
    with pytest.raises(ValueError, match="and at least 1 process, got 'node 1' and 8"):
        hostfile_text({"node 1": 8})
    with pytest.raises(ValueError, match="got 'node1' and 0"):
        hostfile_text({"node1": 0})


def test_a_shell_reads_a_command_back_as_it_was(tmp_path):
    argv = [sys.executable, "-c", "import os, sys; print(os.environ['A'], sys.argv[1:])"]
    argv += ["mit raum", "größe", "it's", '"$HOME"', "a;b", ""]
    text = shell_text(argv, {"A": "1 2"})
    done = subprocess.run(["bash", "-c", text], capture_output=True, text=True, check=True)
    assert done.stdout == f"1 2 {argv[3:]}\n"


@pytest.fixture
def submit(tmp_path):
    """Run a Slurm script by bash, with programs that stand in for Slurm's."""
    programs = tmp_path / "bin"
    programs.mkdir()
    for name, text in (("scontrol", SCONTROL), ("srun", SRUN)):
        (programs / name).write_text(text)
        (programs / name).chmod(0o755)

    def begin(folder, script, **variables):
        folder.mkdir(parents=True, exist_ok=True)
        (tmp_path / "job.sh").write_text(script)
        environment = {
            **os.environ,
            "PATH": f"{programs}:{os.environ['PATH']}",
            "FOLDER": str(folder),
            "SLURM_NNODES": "2",
            "SLURM_JOB_ID": "4711",
            "SLURM_JOB_NODELIST": "node-[a-b]",
            **variables,
        }
        return subprocess.Popen(["bash", "job.sh"], cwd=tmp_path, env=environment)

    return begin


def test_a_slurm_script_starts_a_torchrun_a_node(tmp_path, submit):
    folder = tmp_path / "größe, it's mine" / "a b"
    script = sbatch_script(
        folder,
        num_nodes=2,
        num_processes=8,
        options=["--partition=gpu"],
        setup=["export A=1"],
        time_limit="2:00:00",
    )
    head = script.splitlines()
    assert head[:9] == [
        "#!/bin/bash",
        "#SBATCH --job-name=litakit-a-b",
        "#SBATCH --nodes=2",
        "#SBATCH --ntasks-per-node=1",
        "#SBATCH --gpus-per-node=8",
        "#SBATCH --cpus-per-task=64",
        "#SBATCH --time=2:00:00",
        "#SBATCH --signal=B:USR1@300",
        "#SBATCH --partition=gpu",
    ]
    job = submit(folder, script, QUICK="1")
    assert job.wait(timeout=20) == 0
    words = (tmp_path / "words").read_text().splitlines()
    assert words[0] == "--kill-on-bad-exit=1"
    assert Path(words[1]).name == "torchrun"
    assert words[2:] == [
        *("--nnodes", "2", "--nproc-per-node", "8", "--rdzv-backend", "c10d"),
        *("--rdzv-endpoint", "node-a:29500", "--rdzv-id", "4711", *ENTRY, str(folder)),
    ]
    assert (folder / "log.txt").read_text() == "trained\n"


def test_before_the_time_limit_the_run_is_asked_to_stop_and_its_exit_code_comes_out(tmp_path, submit):
    folder = tmp_path / "größe, it's mine" / "a"
    folder.mkdir(parents=True)
    (folder / "STOP").touch()  # of the time before
    job = submit(folder, sbatch_script(folder, num_nodes=2, num_processes=8))
    log = folder / "log.txt"
    deadline = time.monotonic() + 20
    while not (log.exists() and log.read_text()) and time.monotonic() < deadline:
        time.sleep(0.02)
    assert not (folder / "STOP").exists()
    job.send_signal(signal.SIGUSR1)
    assert job.wait(timeout=20) == 3
    assert log.read_text() == "trained\nsaved\n"


def test_a_slurm_script_with_what_is_no_option_is_refused():
    with pytest.raises(ValueError, match="expected an option of sbatch such as '--partition=gpu', got 'gpu'"):
        sbatch_script("runs/a", num_nodes=1, num_processes=1, options=["gpu"])
