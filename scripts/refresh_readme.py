"""What README.md shows of the bundled model, made anew: `python scripts/refresh_readme.py`.

Runs the ten lines of Python and puts what they print below them, writes the model's size into the table of
models, and saves the picture that `litakit demo` makes as `docs/timeline.png`.
"""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from litakit.assets import bundled_model
from litakit.files import write_atomic

ROOT = Path(__file__).resolve().parents[1]
README = ROOT / "README.md"


def printed_by(code: str) -> str:
    """What a program prints, run in a folder of its own."""
    with tempfile.TemporaryDirectory() as folder:
        return subprocess.run(
            [sys.executable, "-c", code], cwd=folder, stdout=subprocess.PIPE, text=True, check=True
        ).stdout


def model_size() -> str:
    """Size of the bundled model's folder.

    >>> model_size().endswith(" MB")
    True
    """
    size = sum(path.stat().st_size for path in bundled_model().rglob("*") if path.is_file())
    return f"{size / 1e6:.1f} MB"


def refreshed(text: str) -> str:
    """The README with today's output and size in their places."""
    code = re.search(r"^```python\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)
    assert code is not None, "README.md has no Python block"
    output = printed_by(code[1])
    text, outputs = re.subn(
        r"^```text\n.*?^```$", lambda _: f"```text\n{output}```", text, flags=re.MULTILINE | re.DOTALL
    )
    text, sizes = re.subn(
        r"^(\| `tiny` .*\| )[^|]*( \| Apache-2.0 \|)$", rf"\g<1>{model_size()}\g<2>", text, flags=re.MULTILINE
    )
    assert (outputs, sizes) == (1, 1), "README.md has lost its block of output or its row of `tiny`"
    return text


def main() -> None:
    """Write README.md and its picture."""
    write_atomic(README, refreshed(README.read_text(encoding="utf-8")))
    with tempfile.TemporaryDirectory() as folder:
        subprocess.run([sys.executable, "-m", "litakit", "demo", "--out", folder], check=True)
        (ROOT / "docs").mkdir(exist_ok=True)
        shutil.copy(Path(folder) / "timeline.png", ROOT / "docs")


if __name__ == "__main__":
    main()
