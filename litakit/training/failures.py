"""Why a run ended: what its log and its exit code say, as a cause with a hint."""

from __future__ import annotations

import re
import signal
from dataclasses import dataclass
from typing import NamedTuple

MESSAGE_CHARACTERS = 400
SEE_LOG = "log.txt in the run's folder has the whole story"

_RANK = re.compile(r"^\[(?:rank|default)\d+\]:\s?", re.MULTILINE)
_EXCEPTION = re.compile(
    r"^(?:[A-Za-z_]\w*\.)*[A-Z]\w*(?:Error|Exception|Interrupt|Exit|Failure)\b.*$", re.MULTILINE
)


@dataclass(frozen=True)
class Failure:
    """What ended a run that should have gone on.

    Attributes:
        kind: one of a few words, such as "out_of_gpu_memory"; "error" where the cause is none of them.
        message: the line that says it.
        hint: what helps.
    """

    kind: str
    message: str
    hint: str

    def __str__(self) -> str:
        return f"{self.kind.replace('_', ' ')}: {self.message} ({self.hint})"


class _Cause(NamedTuple):
    kind: str
    pattern: re.Pattern[str]
    hint: str


def _cause(kind: str, hint: str, *patterns: str) -> _Cause:
    return _Cause(kind, re.compile("|".join(patterns), re.MULTILINE), hint)


_KILLED_HINT = (
    "nearly always the machine's memory ran out and the system killed the largest process (`dmesg` says so): "
    "fewer data workers, a smaller batch, no offload to the CPU"
)
_SHARED_MEMORY_HINT = (
    "data workers need more shared memory: fewer of them, or start the container with --shm-size=16g"
)
# The first that fits counts, so what others bring about stands below them: a full GPU makes the other
# processes lose their peer. What is often caught and survived counts only as the first words of a line, where
# Python prints an exception that nobody caught.
_CAUSES = (
    _cause(
        "out_of_gpu_memory",
        "a smaller batch with more accumulation, gradient checkpointing, ZeRO-3, offload, LoRA, or fewer "
        "other programs on the GPU (`nvidia-smi`)",
        r"(?:CUDA|HIP|XPU) out of memory",
        r"CUDA error: out of memory",
        r"CUBLAS_STATUS_ALLOC_FAILED",
        r"NCCL.*out of memory",
    ),
    _cause(
        "shared_memory_full",
        _SHARED_MEMORY_HINT,
        r"insufficient shared memory",
        r"out of shared memory",
        r"killed by signal: Bus error",
    ),
    _cause(
        "out_of_memory",
        "the machine's memory ran out: fewer data workers, a smaller batch, no offload to the CPU",
        r"DefaultCPUAllocator: ",
        r"^MemoryError",
        r"_ArrayMemoryError",
        r"OSError: \[Errno 12\]",
        r"is killed by signal: Killed",
    ),
    _cause(
        "disk_full",
        "make room, or keep fewer checkpoints, then resume: the last whole checkpoint is still there",
        r"No space left on device",
        r"Disk quota exceeded",
        r"PytorchStreamWriter failed writing file",
    ),
    _cause(
        "port_in_use",
        "another run holds the port: wait for it, stop it, or choose another port",
        r"EADDRINUSE",
        r"[Aa]ddress already in use",
    ),
    _cause(
        "build_failed",
        "DeepSpeed could not compile an extension: it needs a C++ compiler, ninja, and on GPUs the CUDA "
        "toolkit of PyTorch's version",
        r"Error building extension",
        r"[Nn]inja is required to load",
        r"Unable to JIT load the",
        r"CUDA_HOME does not exist",
        r"CUDAMismatchException",
    ),
    _cause(
        "no_gpu",
        "the GPU or its driver does not do what the config asks for: see `nvidia-smi` and `litakit doctor`",
        r"No CUDA GPUs are available",
        r"Found no NVIDIA driver",
        r"not compiled with CUDA",
        r"driver version is insufficient",
        r"no kernel image is available",
        r"NVIDIA driver on your system is too old",
        r"doesn't support bf16",
    ),
    _cause(
        "bad_config",
        "correct the file that it names, or the config, and launch anew",
        r"Check batch related parameters",
        r"^(?:[\w.]+\.)?(?:\w*ConfigError|ManifestError)\b",
        r"^yaml\.\w+\.\w*Error",
        r"validation errors? for \w*Config",
    ),
    _cause(
        "missing_package",
        "install it into the environment that the command names; training needs `pip install litakit[train]`",
        r"^ModuleNotFoundError: ",
        r"^ImportError: .*(?:requires|not installed|not found)",
    ),
    _cause(
        "missing_file",
        "paths are read from the folder that the command runs in, see command.json; a model may have to be "
        "fetched first",
        r"^(?:FileNotFoundError|NotADirectoryError): ",
        r"is not a local folder and is not a valid model identifier",
    ),
    _cause(
        "not_permitted",
        "this user may not read or write it, or must log in first",
        r"^PermissionError: ",
        r"GatedRepoError",
        r"(?:401|403) Client Error",
    ),
    _cause(
        "no_network",
        "fetch the model beforehand, and name its folder in the config",
        r"couldn't connect to 'https?://",
        r"LocalEntryNotFoundError",
        r"OfflineModeIsEnabled",
        r"Temporary failure in name resolution",
    ),
    _cause(
        "diverged",
        "fp16 numbers overflowed at every scale: train in bf16 or fp32, or lower the learning rate",
        r"loss scale already at minimum",
    ),
    _cause(
        "out_of_memory",
        _KILLED_HINT,
        r"Signal 9 \(SIGKILL\) received",
        r"\(exitcode: -9\)",
        r"exitcode\s*: -9",
    ),
    _cause(
        "timed_out",
        "a process waited for one that never came: look for the first error of any rank; all nodes need the "
        "same command and must reach the endpoint",
        r"Watchdog caught collective operation timeout",
        r"DistStoreError: ",
        r"RendezvousTimeoutError",
        r"Timed out waiting \d+ms",
    ),
    _cause(
        "peer_lost",
        "another process of the run ended first: its own error stands elsewhere in the log, or on its node",
        r"Connection (?:closed|reset) by peer",
        r"ncclRemoteError",
        r"remote process exited",
        r"Broken pipe",
    ),
)
_SIGNALS = {
    signal.SIGKILL: ("out_of_memory", _KILLED_HINT),
    signal.SIGBUS: ("shared_memory_full", _SHARED_MEMORY_HINT),
    signal.SIGTERM: ("killed", "somebody, a scheduler or a shutdown asked it to end; it can be resumed"),
    signal.SIGINT: ("killed", "somebody interrupted it; it can be resumed"),
    signal.SIGSEGV: ("crashed", "a fault in compiled code; " + SEE_LOG),
}


def diagnose(text: str, returncode: int | None = None) -> Failure | None:
    r"""Return the cause that a log and an exit code name.

    Args:
        text: the end of a log, or a traceback.
        returncode: of the process; negative for the signal that ended it; None where nobody knows.

    Returns:
        The cause; kind "error" with the last exception, or else the last line, where none of the known ones
        fits; None where there is neither an exit code nor a word.

    >>> diagnose("OSError: [Errno 28] No space left on device: 'checkpoints/7'").kind
    'disk_full'
    >>> diagnose("step 7", returncode=-9).message
    'ended by signal 9 (SIGKILL)'
    >>> print(diagnose("Traceback (most recent call last):\nValueError: expected 3 spans, got 2", 1))
    error: ValueError: expected 3 spans, got 2 (log.txt in the run's folder has the whole story)
    """
    plain = _RANK.sub("", text.replace("\r", "\n"))
    named = next((found for cause in _CAUSES if (found := _match(cause, plain))), None)
    by_signal = _of_signal(returncode)
    if by_signal is not None and (named is None or "memory" not in named.kind):
        return by_signal
    if named is not None:
        return named
    exceptions = _EXCEPTION.findall(plain)
    lines = [line.strip() for line in plain.splitlines() if line.strip()]
    if returncode is None and not lines:
        return None
    if exceptions or (returncode and lines):
        return Failure("error", _short((exceptions or lines)[-1]), SEE_LOG)
    said = "nothing in its log" if not lines else f"the last line of its log: {_short(lines[-1])}"
    code = "an unknown exit code" if returncode is None else f"exit code {returncode}"
    return Failure("error", f"ended with {code}, {said}", SEE_LOG)


def _match(cause: _Cause, text: str) -> Failure | None:
    found = None
    for found in cause.pattern.finditer(text):  # noqa: B007  the last of them is wanted
        pass
    if found is None:
        return None
    start = text.rfind("\n", 0, found.start()) + 1
    end = text.find("\n", found.end())
    line = text[start : end if end >= 0 else len(text)]
    return Failure(cause.kind, _short(line), cause.hint)


def _of_signal(returncode: int | None) -> Failure | None:
    if returncode is None or returncode >= 0:
        return None
    for number, (kind, hint) in _SIGNALS.items():
        if number == -returncode:
            return Failure(kind, f"ended by signal {-returncode} ({number.name})", hint)
    return None


def _short(line: str) -> str:
    line = line.strip()
    return line if len(line) <= MESSAGE_CHARACTERS else line[: MESSAGE_CHARACTERS - 3] + "..."
