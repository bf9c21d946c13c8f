"""The commands that train a run, as argument lists and as text: on this machine, on several, under Slurm."""

from __future__ import annotations

import os
import re
import shlex
import shutil
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from litakit.training.run_folder import EXIT_FILE, LOG_FILE, PROCESS_FILE, STOP_FILE

ENTRY_MODULE = "litakit.training.main"
ENTRY = ("-m", ENTRY_MODULE)
DEFAULT_PORT = 29500

Folder = str | os.PathLike[str]


def python_command(folder: Folder, *, entry: Sequence[str] = ENTRY) -> list[str]:
    """Return the command that trains the run in a folder by one process.

    Args:
        folder: of the run.
        entry: what Python is to run: a script, or "-m" and a module.
    """
    return [sys.executable, *entry, str(folder)]


def torchrun_command(
    folder: Folder,
    *,
    num_processes: int,
    num_nodes: int = 1,
    endpoint: str | None = None,
    rendezvous_id: str | None = None,
    entry: Sequence[str] = ENTRY,
) -> list[str]:
    """Return the torchrun command that trains the run in a folder.

    Several nodes run this same command each; the folder must be the same for all of them.

    Args:
        folder: of the run.
        num_processes: on each node, one a GPU.
        num_nodes: machines.
        endpoint: "host:port" at which the nodes meet, on one of them; needed for more than one.
        rendezvous_id: a word that keeps runs with the same endpoint apart; the run's id by default.
        entry: what Python is to run: a script, or "-m" and a module.

    Raises:
        ValueError: no process, no node, or several nodes without an endpoint.

    >>> torchrun_command("runs/a", num_processes=2)[1:]
    ['--standalone', '--nproc-per-node', '2', '-m', 'litakit.training.main', 'runs/a']
    """
    _check_counts(num_processes, num_nodes)
    meet = ["--standalone"]
    if num_nodes > 1:
        if not endpoint:
            raise ValueError(f"{num_nodes} nodes need an endpoint to meet at, such as 'node1:{DEFAULT_PORT}'")
        meet = ["--nnodes", str(num_nodes), "--rdzv-backend", "c10d", "--rdzv-endpoint", endpoint]
        meet += ["--rdzv-id", rendezvous_id or Path(folder).name]
    return [_tool("torchrun"), *meet, "--nproc-per-node", str(num_processes), *entry, str(folder)]


def deepspeed_command(
    folder: Folder,
    *,
    num_processes: int,
    hostfile: Folder | None = None,
    port: int = DEFAULT_PORT,
    entry: Sequence[str] = ENTRY,
) -> list[str]:
    """Return the command of DeepSpeed's launcher that trains the run in a folder.

    With a hostfile it is started on one node and reaches the others by pdsh over ssh, without a password.

    Args:
        folder: of the run.
        num_processes: on each node, one a GPU.
        hostfile: that names the nodes, see `hostfile_text`; without one, this machine.
        port: at which the processes meet; two runs on a machine need two.
        entry: what Python is to run: a script, or "-m" and a module.

    Raises:
        ValueError: no process.

    >>> deepspeed_command("runs/a", num_processes=2)[1:5]
    ['--num_gpus', '2', '--master_port', '29500']
    """
    _check_counts(num_processes, 1)
    hosts = [] if hostfile is None else ["--hostfile", str(hostfile)]
    module, script = (["--module"], entry[1:]) if entry[0] == "-m" else ([], entry)
    return [
        *(_tool("deepspeed"), *hosts, "--num_gpus", str(num_processes), "--master_port", str(port)),
        *("--no_local_rank", *module, *script, str(folder)),
    ]


def hostfile_text(slots: Mapping[str, int]) -> str:
    r"""Return the text of a hostfile for DeepSpeed.

    Args:
        slots: processes by the name of the node, in order; the first leads.

    Raises:
        ValueError: no node, a name with a blank, or no process on a node.

    >>> hostfile_text({"node1": 8, "node2": 8})
    'node1 slots=8\nnode2 slots=8\n'
    """
    if not slots:
        raise ValueError("expected at least one node, got none")
    for name, count in slots.items():
        if not re.fullmatch(r"[^\s#]+", name) or count < 1:
            raise ValueError(f"expected the name of a node and at least 1 process, got {name!r} and {count}")
    return "".join(f"{name} slots={count}\n" for name, count in slots.items())


def sbatch_script(
    folder: Folder,
    *,
    num_nodes: int,
    num_processes: int,
    cpus_per_process: int = 8,
    time_limit: str = "24:00:00",
    options: Sequence[str] = (),
    setup: Sequence[str] = (),
    port: int = DEFAULT_PORT,
    save_seconds: int = 300,
    entry: Sequence[str] = ENTRY,
) -> str:
    """Return a Slurm script that trains the run in a folder on one or several nodes.

    Before the time limit the run is asked to stop, so that it saves; submitted again, it goes on from there.

    Args:
        folder: of the run, on a file system that all nodes have; relative to where sbatch is called.
        num_nodes: machines.
        num_processes: on each node, one a GPU.
        cpus_per_process: cores for each of them and its data workers.
        time_limit: as Slurm writes it, "hours:minutes:seconds".
        options: further ones for sbatch, such as "--partition=gpu".
        setup: lines of shell that come first, such as "module load cuda".
        port: at which the nodes meet, on the first of them.
        save_seconds: before the time limit at which the run is asked to stop.
        entry: what Python is to run: a script, or "-m" and a module.

    Raises:
        ValueError: no process or no node, or an option that does not begin with "-".
    """
    _check_counts(num_processes, num_nodes)
    for option in options:
        if not option.startswith("-") or "\n" in option:
            raise ValueError(f"expected an option of sbatch such as '--partition=gpu', got {option!r}")
    run = Path(folder)
    name = re.sub(r"[^A-Za-z0-9._-]+", "-", run.name)
    directives = [
        f"--job-name=litakit-{name}",
        f"--nodes={num_nodes}",
        "--ntasks-per-node=1",
        f"--gpus-per-node={num_processes}",
        f"--cpus-per-task={num_processes * cpus_per_process}",
        f"--time={time_limit}",
        f"--signal=B:USR1@{save_seconds}",
        *options,
    ]
    # One torchrun a node, which starts the node's processes; they meet on the job's first node.
    words = [_tool("torchrun"), "--nnodes", "$SLURM_NNODES", "--nproc-per-node", str(num_processes)]
    words += ["--rdzv-backend", "c10d", "--rdzv-endpoint", f"$head:{port}", "--rdzv-id", "$SLURM_JOB_ID"]
    words += [*entry, str(run)]
    launch = " ".join(
        f'"{word}"' if "$SLURM" in word or "$head" in word else shlex.quote(word) for word in words
    )
    return "\n".join(
        [
            "#!/bin/bash",
            *(f"#SBATCH {directive}" for directive in directives),
            "set -u",
            *setup,
            f"exec >> {shlex.quote(str(run / LOG_FILE))} 2>&1",
            f"rm -f {shlex.join(str(run / name) for name in (STOP_FILE, PROCESS_FILE, EXIT_FILE))}",
            f"trap {shlex.quote('touch ' + shlex.quote(str(run / STOP_FILE)))} USR1  # time is up soon",
            'head=$(scontrol show hostnames "$SLURM_JOB_NODELIST" | head -n 1)',
            f"srun --kill-on-bad-exit=1 {launch} &",
            "job=$!",
            "wait $job; code=$?",
            "while kill -0 $job 2> /dev/null; do wait $job; code=$?; done  # the trap ended the wait",
            "exit $code",
            "",
        ]
    )


def shell_text(argv: Sequence[str], environment: Mapping[str, str] | None = None) -> str:
    """Return a command as one would type it.

    Args:
        argv: the command.
        environment: variables that are set for it.

    >>> shell_text(["torchrun", "-m", "train", "my runs/ä"], {"OMP_NUM_THREADS": "1"})
    "OMP_NUM_THREADS=1 torchrun -m train 'my runs/ä'"
    """
    variables = [f"{name}={shlex.quote(value)}" for name, value in (environment or {}).items()]
    return " ".join([*variables, shlex.join(argv)])


def _tool(name: str) -> str:
    """Return the path of a program of this Python's environment, or its name where it is not there."""
    return shutil.which(name, path=str(Path(sys.executable).parent)) or name


def _check_counts(num_processes: int, num_nodes: int) -> None:
    if num_processes < 1 or num_nodes < 1:
        raise ValueError(f"expected at least 1 process on 1 node, got {num_processes} on {num_nodes}")
