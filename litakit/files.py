"""Files written whole or not at all."""

import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def replacing(path: str | os.PathLike[str]) -> Iterator[Path]:
    """Give a path beside `path` to write to; move it there at the end, or remove it if writing failed.

    The temporary name keeps the suffix, because writers choose a format by it. A reader sees the old file or
    the new one, never a part. Missing parent folders are made.

    Args:
        path: where the finished file belongs.

    Yields:
        The temporary path, in the same folder, not yet existing.

    Raises:
        FileNotFoundError: nothing was written to the temporary path.
    """
    target = Path(path)
    target.parent.mkdir(parents=True, exist_ok=True)
    temporary = target.with_name(
        f".{target.stem[:80]}.{os.getpid()}-{secrets.token_hex(4)}.part{target.suffix}"
    )
    try:
        yield temporary
        temporary.replace(target)
    except OSError as error:  # what a full disk says names no file
        if error.filename is None and error.errno is not None:
            raise OSError(error.errno, error.strerror, str(target)) from error
        raise
    finally:
        temporary.unlink(missing_ok=True)


def write_atomic(path: str | os.PathLike[str], content: bytes | str) -> Path:
    """Write a whole file or nothing: to a temporary file beside it, then moved into place.

    Args:
        path: where the file belongs; missing parent folders are made.
        content: bytes as they are, text as UTF-8.

    Returns:
        The path.

    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     write_atomic(Path(folder) / "new" / "a.txt", "words").read_text()
    'words'
    """
    data = content.encode("utf-8") if isinstance(content, str) else content
    with replacing(path) as temporary, temporary.open("xb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())
    return Path(path)
