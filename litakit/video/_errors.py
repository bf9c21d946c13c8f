"""What the decoding floors say to each other when a file is not as it should be."""

import re
from collections.abc import Callable

Ping = Callable[[], None]
"""Called now and then as a sign of life."""


class DecoderError(Exception):
    """A file that cannot be read, with the reason in words."""


class PacketsMisledError(Exception):
    """The decoder does not show what the packets promise: the file has to be decoded to be known."""


class FolderError(Exception):
    """A folder that cannot be written.

    Attributes:
        error: what the system says.
    """

    def __init__(self, error: OSError) -> None:
        super().__init__(words_of(error))
        self.error = error


def words_of(error: BaseException) -> str:
    """Return what an error says, in one line without the path.

    >>> words_of(FileNotFoundError(2, "No such file or directory", "a.mp4"))
    'No such file or directory'
    """
    words = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
    words = re.sub(r"^\[Errno -?\d+\] ", "", " ".join(words.split()))
    return re.sub(r": '.*'$", "", words) or type(error).__name__
