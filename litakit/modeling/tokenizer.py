"""The tokenizer: a language model's own, with time tokens, equal to the published one in every id.

transformers 5 reads a published LITA tokenizer silently wrong: around added tokens the published one strips
white space on both sides and then writes each stretch of words as if it stood alone, with a blank before it.
The backend that is built here does the same, and is saved under a class of its own, because under the name
``LlamaTokenizer`` transformers would build another one on loading.
"""

import json
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tokenizers import Tokenizer
from tokenizers.models import BPE
from transformers import AutoTokenizer, LlamaTokenizer, PreTrainedTokenizerBase, PreTrainedTokenizerFast

from litakit.time_tokens import make_time_codec

SENTENCEPIECE_FILE = "tokenizer.model"
BLANK = "▁"
"""How SentencePiece writes a blank."""
BYTE_PIECE = re.compile(r"<0x[0-9A-F]{2}>")
IM_PATCH, IM_START, IM_END = "<im_patch>", "<im_start>", "<im_end>"


class LitaTokenizer(PreTrainedTokenizerFast):
    """A fast tokenizer that decodes as the published one: split at added tokens, joined with one blank."""

    def tokenize(
        self, text: str, pair: str | None = None, add_special_tokens: bool = False, **kwargs: Any
    ) -> list[str]:
        """Pieces of ``text``; those of added tokens bare, without the white space they swallowed."""
        ids = self(text, pair, add_special_tokens=add_special_tokens, **kwargs)["input_ids"]
        return [self._piece(token) for token in ids]

    def _decode(
        self,
        token_ids: int | Sequence[int],
        skip_special_tokens: bool = False,
        clean_up_tokenization_spaces: bool | None = None,
        **kwargs: Any,
    ) -> str:
        ids = [token_ids] if isinstance(token_ids, int) else [int(token) for token in token_ids]
        special = set(self.all_special_ids)
        added = {index for index, token in self.added_tokens_decoder.items() if index not in special}
        texts: list[str] = []
        group: list[int] = []
        for token in ids:
            if skip_special_tokens and token in special:
                continue
            if token in added:
                if group:
                    texts.append(self._decode_group(group, special))
                    group = []
                texts.append(self._piece(token))
            else:
                group.append(token)
        if group:
            texts.append(self._decode_group(group, special))
        return " ".join(texts)

    def _decode_group(self, ids: list[int], special: set[int]) -> str:
        """Decode words and special tokens; as published, a blank goes before words that end in one."""
        text = ""
        words: list[int] = []
        for token in ids:
            if token in special:
                text += (" " + self._decode_words(words) if words else "") + self._piece(token)
                words = []
            else:
                words.append(token)
        return text + self._decode_words(words)

    def _piece(self, token: int) -> str:
        """Piece of an id; empty for one that is no token, as the places of a video are."""
        return self.backend_tokenizer.id_to_token(token) or ""

    def decode_answer(self, token_ids: Sequence[int]) -> str:
        """Words of a generated answer as the published evaluator reads them; special tokens are left out.

        There a time token stands for its seconds written out, so a blank precedes it and what follows keeps
        its own; `decode` joins with blanks on both sides. They differ where a piece without a blank of its
        own follows a time token. A byte-level tokenizer, whose pieces after a time token have none, joins.
        """
        if not self._is_sentencepiece():
            return str(self.decode(list(token_ids), skip_special_tokens=True)).strip()
        special = set(self.all_special_ids)
        added = self.added_tokens_decoder
        pieces = [
            BLANK + self._piece(token) if token in added else self._piece(token)
            for token in token_ids
            if token not in special
        ]
        return _join_pieces(pieces).strip()

    def _decode_words(self, ids: list[int]) -> str:
        if self._is_sentencepiece():
            return _join_pieces([self._piece(token) for token in ids])
        return str(self.backend_tokenizer.decode(ids, skip_special_tokens=False))

    def _is_sentencepiece(self) -> bool:
        model = self.backend_tokenizer.model
        return isinstance(model, BPE) and bool(model.byte_fallback)


def build_tokenizer(
    folder: str | Path, num_time_tokens: int = 100, use_im_patch: bool = False, use_im_start_end: bool = False
) -> LitaTokenizer:
    """Build LITA's tokenizer from the folder of a language model, or of a published LITA.

    Args:
        folder: holds a SentencePiece Llama tokenizer (``tokenizer.model``), or any fast tokenizer that
            ``AutoTokenizer`` reads.
        num_time_tokens: time tokens the vocabulary has in the end; 0 for none.
        use_im_patch: whether it has ``<im_patch>``.
        use_im_start_end: whether it has ``<im_start>`` and ``<im_end>``.

    Returns:
        The tokenizer; what the folder lacks is appended in the published order: ``<im_patch>``,
        ``<im_start>``, ``<im_end>``, time tokens.

    Raises:
        FileNotFoundError: no tokenizer in the folder.
        ValueError: the folder holds some of the time tokens, but not all, or not in a row.
    """
    base = _read_base(Path(folder))
    backend = json.loads(base.backend_tokenizer.to_str())
    if _is_sentencepiece(backend):
        _imitate_published(backend)
    special = set(base.all_special_tokens)
    own = {token["id"]: token["content"] for token in backend["added_tokens"]} | _added_of_folder(
        Path(folder)
    )
    time_tokens = make_time_codec("tokens", num_time_tokens).tokens if num_time_tokens else ()
    wanted = [
        *([IM_PATCH] if use_im_patch else []),
        *([IM_START, IM_END] if use_im_start_end else []),
        *time_tokens,
    ]
    next_id = max([*backend_vocab_ids(backend), *own], default=-1) + 1
    for content in wanted:
        if content not in own.values():
            own[next_id] = content
            next_id += 1
    _check_time_tokens(own, time_tokens)
    kept = {token["content"]: token for token in backend["added_tokens"]}
    backend["added_tokens"] = [
        _added_token(index, content, content in wanted, content in special, kept.get(content))
        for index, content in sorted(own.items())
    ]
    names = ("bos_token", "eos_token", "unk_token", "pad_token")
    specials = {name: base.special_tokens_map[name] for name in names if name in base.special_tokens_map}
    if "pad_token" not in specials:
        specials["pad_token"] = specials["unk_token"] if "unk_token" in specials else specials["eos_token"]
    return LitaTokenizer(
        tokenizer_object=Tokenizer.from_str(json.dumps(backend)),
        clean_up_tokenization_spaces=False,
        padding_side="left",
        **specials,
    )


def backend_vocab_ids(backend: dict[str, Any]) -> list[int]:
    """Ids of the pieces of a backend's own model, added tokens not among them."""
    vocab = backend["model"]["vocab"]
    return list(vocab.values()) if isinstance(vocab, dict) else list(range(len(vocab)))


def _read_base(folder: Path) -> PreTrainedTokenizerBase:
    if (folder / SENTENCEPIECE_FILE).is_file():
        return LlamaTokenizer.from_pretrained(folder)
    if not (folder / "tokenizer.json").is_file() and not (folder / "tokenizer_config.json").is_file():
        raise FileNotFoundError(f"{folder}: expected {SENTENCEPIECE_FILE} or tokenizer.json, found neither")
    tokenizer = AutoTokenizer.from_pretrained(folder)
    if not tokenizer.is_fast:
        raise ValueError(
            f"{folder}: expected a tokenizer with a fast backend, got {type(tokenizer).__name__}"
        )
    return tokenizer


def _is_sentencepiece(backend: dict[str, Any]) -> bool:
    return (backend["pre_tokenizer"] or {}).get("type") == "Metaspace" or (
        bool(backend["model"].get("byte_fallback")) and backend["pre_tokenizer"] is None
    )


def _imitate_published(backend: dict[str, Any]) -> None:
    backend["normalizer"] = {
        "type": "Sequence",
        "normalizers": [
            {"type": "Prepend", "prepend": BLANK},
            {"type": "Replace", "pattern": {"String": " "}, "content": BLANK},
        ],
    }
    backend["pre_tokenizer"] = None


def _added_of_folder(folder: Path) -> dict[int, str]:
    file = folder / "added_tokens.json"
    if not file.is_file():
        return {}
    return {index: content for content, index in json.loads(file.read_text(encoding="utf-8")).items()}


def _added_token(
    index: int, content: str, is_lita: bool, is_special: bool, kept: dict[str, Any] | None
) -> dict[str, Any]:
    if kept is not None and not is_lita and not is_special:
        return kept
    strip = not is_special
    flags = {
        "single_word": False,
        "lstrip": strip,
        "rstrip": strip,
        "normalized": False,
        "special": is_special,
    }
    return {"id": index, "content": content, **flags}


def _check_time_tokens(own: dict[int, str], time_tokens: Sequence[str]) -> None:
    ids = {content: index for index, content in own.items()}
    found = [ids[token] for token in time_tokens]
    if found and found != list(range(found[0], found[0] + len(found))):
        raise ValueError(
            f"expected {len(found)} time tokens with ids in a row, got {found[:3]}...{found[-3:]}: the "
            "folder's tokenizer was made for another number of time tokens"
        )


def _join_pieces(pieces: Sequence[str]) -> str:
    r"""Text of SentencePiece pieces, the blank before the first word left out.

    >>> _join_pieces(["▁the", "▁ma", "n", "<0x0A>"])
    'the man\n'
    """
    pieces = [piece for piece in pieces if piece]
    text = ""
    data = bytearray()
    for piece in pieces:
        if BYTE_PIECE.fullmatch(piece):
            data.append(int(piece[3:5], 16))
            continue
        text += _decode_utf8(bytes(data)) + piece.replace(BLANK, " ")
        data.clear()
    text += _decode_utf8(bytes(data))
    return text[1:] if text.startswith(" ") and pieces[0].startswith(BLANK) else text


def _decode_utf8(data: bytes) -> str:
    r"""Decode as SentencePiece does: each byte that belongs to no character becomes one U+FFFD.

    >>> _decode_utf8(b"\xe6\x97\xa5\xe6\x97!")
    '日��!'
    """
    text = ""
    while data:
        for length in range(1, 5):
            try:
                text += data[:length].decode("utf-8")
            except UnicodeDecodeError:
                continue
            data = data[length:]
            break
        else:
            text, data = text + "\N{REPLACEMENT CHARACTER}", data[1:]
    return text
