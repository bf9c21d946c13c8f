"""Pieces of an answer that are sure to stay as they are while the rest is still to come."""

import re
from collections.abc import Callable, Sequence

# A number at the end may still become a time ("12.3" before " s"), so it waits for what follows it.
_OPEN_END = re.compile(r"[<\d.]*\d[\d.]*\s*$")


class PieceMaker:
    """Turns tokens, one by one, into pieces of shown text: whole words, and times only as finished seconds.

    Args:
        decode: from all ids so far to the model's text.
        show: from the model's text to what people read.

    >>> maker = PieceMaker(lambda ids: "".join("ab c"[i] for i in ids), str.upper)
    >>> [maker.add(i) for i in range(4)], maker.rest("AB C")
    (['', '', 'AB ', ''], 'C')
    """

    def __init__(self, decode: Callable[[Sequence[int]], str], show: Callable[[str], str]) -> None:
        self._decode = decode
        self._show = show
        self._ids: list[int] = []
        self._given = ""

    def add(self, token: int) -> str:
        """Take one more token; return what can be shown now, often nothing."""
        self._ids.append(token)
        text = self._show(self._decode(self._ids))
        words = re.match(r"(.*\s)?", text, re.DOTALL)
        sure = _OPEN_END.sub("", words[0] if words else "")
        return self._give(sure)

    def rest(self, text: str) -> str:
        """Return what is left of the whole text."""
        return self._give(text)

    def _give(self, text: str) -> str:
        if len(text) <= len(self._given) or not text.startswith(self._given):
            return ""
        piece, self._given = text[len(self._given) :], text
        return piece
