"""What every test may use: the golden data's folder."""

from pathlib import Path

GOLDEN = Path(__file__).parent / "golden"
