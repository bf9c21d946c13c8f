"""A training that trains nothing: takes steps, measures, saves, stops when asked, or fails as it is told to.

``python _stand_in_training.py FOLDER [STEPS [SECONDS_A_STEP [FAULT]]]``, alone or under torchrun.
"""

import ctypes
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

from litakit.training.run_writer import RunWriter

CHILD = "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); time.sleep(60)"


def main(folder: Path, steps: int = 10, seconds: float = 0.02, fault: str = "") -> None:
    if int(os.environ.get("RANK", "0")) > 0:
        while not (folder / "checkpoints" / "step").exists():
            time.sleep(0.05)
        return
    checkpoint = folder / "checkpoints" / "step"
    first = int(checkpoint.read_text()) if checkpoint.exists() else 0
    if fault == "early":
        raise FileNotFoundError(2, "No such file or directory", "/data/LITA/activitynet.json")
    with RunWriter(folder, steps, step=first) as writer:
        if fault == "children":  # that ignore SIGTERM, one of them in a session of its own, as torchrun's are
            for is_apart in (False, True):
                subprocess.Popen([sys.executable, "-c", CHILD], start_new_session=is_apart)
            signal.signal(signal.SIGTERM, signal.SIG_IGN)
        for step in range(first + 1, steps + 1):
            time.sleep(seconds)
            print(f"step {step}", flush=True)
            writer.append_metrics(step, loss=1 / step, seconds=seconds)
            writer.update(step=step, epoch=step / steps)
            if step == 3 and fault:
                fail(fault)
            if writer.is_stop_asked:
                break
        with writer.saving():
            checkpoint.parent.mkdir(exist_ok=True)
            checkpoint.write_text(str(writer.status.step))


def fail(fault: str) -> None:
    match fault:
        case "kill":
            os.kill(os.getpid(), signal.SIGKILL)
        case "segfault":
            ctypes.string_at(0)
        case "leave":
            os._exit(0)
        case "disk":
            raise OSError(28, "No space left on device", "checkpoints/3/optimizer.pt")
        case "gpu":
            print(
                "torch.OutOfMemoryError: CUDA out of memory. Tried to allocate 29.76 GiB. GPU 0 has a total "
                "capacity of 10.74 GiB of which 3.69 GiB is free.",
                file=sys.stderr,
                flush=True,
            )
            os._exit(1)
        case "code":
            raise IndexError("list index out of range")


if __name__ == "__main__":
    text = dict(enumerate(sys.argv))
    main(Path(sys.argv[1]), int(text.get(2, 10)), float(text.get(3, 0.02)), text.get(4, ""))
