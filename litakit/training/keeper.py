"""The process that leads a run: starts the command, waits for it, writes down how it ended.

``python -m litakit.training.keeper FOLDER COMMAND...``. The cell or shell that launched a run may be long
gone when the run ends, and only a parent is told by which signal a process was killed. What ends the run's
whole process group does not end this, so that it can still say so.
"""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path
from types import FrameType

from litakit.training.run_folder import EXIT_FILE, RunExit, now, write_record

NOT_STARTED = 127


def main(arguments: list[str]) -> int:
    """Run a command to its end.

    Args:
        arguments: the run's folder, then the command.

    Returns:
        The exit code, as a shell would give it.
    """
    folder, *command = arguments
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(number, _outlive)  # a handler, unlike SIG_IGN, is not inherited by the command
    try:
        returncode = subprocess.Popen(command).wait()
    except OSError as error:
        sys.stderr.write(f"{command[0]} could not be started: {error}\n")
        returncode = NOT_STARTED
    write_record(Path(folder) / EXIT_FILE, RunExit(returncode, now()))
    return returncode if returncode >= 0 else 128 - returncode


def _outlive(number: int, frame: FrameType | None) -> None:
    """Go on waiting: the command has the signal too, and how it ends is to be written down."""


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
