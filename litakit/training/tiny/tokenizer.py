"""Stage 1: a SentencePiece tokenizer of the Llama kind, learnt from the world's own words."""

from __future__ import annotations

import io
import json
import logging
import re
import tempfile
from pathlib import Path

import sentencepiece

from litakit.data import synthetic
from litakit.messages import TEMPLATES
from litakit.modeling.tokenizer import LitaTokenizer, build_tokenizer
from litakit.training.tiny.recipe import TinyRecipe

logger = logging.getLogger(__name__)

NUM_SCENES = 1500
TIMESTAMP = re.compile(r"<[\d.]+>")


def make_tokenizer(recipe: TinyRecipe) -> LitaTokenizer:
    """Learn `recipe.num_pieces` pieces (bytes too, so that any text can be written) and add time tokens."""
    model = io.BytesIO()
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(_sentences()),
        model_writer=model,
        model_type="bpe",
        vocab_size=recipe.num_pieces,
        byte_fallback=True,
        character_coverage=1.0,
        normalization_rule_name="identity",
        split_digits=True,
        add_dummy_prefix=True,
        remove_extra_whitespaces=False,
        pad_id=-1,
        num_threads=1,
        minloglevel=2,
    )
    with tempfile.TemporaryDirectory() as folder:
        Path(folder, "tokenizer.model").write_bytes(model.getvalue())
        settings = {"bos_token": "<s>", "eos_token": "</s>", "unk_token": "<unk>", "pad_token": "<unk>"}
        Path(folder, "tokenizer_config.json").write_text(json.dumps({"legacy": True, **settings}))
        tokenizer = build_tokenizer(folder)
    logger.info("tokenizer: %d tokens", len(tokenizer))
    return tokenizer


def _sentences() -> list[str]:
    """What the model will read and say; the system prompt often enough that its words become pieces."""
    words: list[str] = []
    for seed in synthetic.TRAIN_SEEDS[:NUM_SCENES]:
        for qa in synthetic.questions(synthetic.make_scene(seed)):
            words += [qa.question, TIMESTAMP.sub(" ", qa.answer)]
    systems = [template.system for template in TEMPLATES.values()][:2]
    printable = [" ".join(chr(code) for code in range(33, 127))] * 50
    return words + systems * 300 + ["USER: ASSISTANT:"] * 300 + printable
