import logging

import pytest
import torch
from transformers import AutoModelForImageTextToText

from litakit.modeling import attention, choose_attention
from tests._tiny import tiny_model


def test_attention_is_chosen_and_said(caplog, tmp_path):
    with caplog.at_level(logging.INFO, logger="litakit.modeling.attention"):
        assert choose_attention("auto", torch.float32, "cpu") == "sdpa"
        assert choose_attention("eager", torch.float32, "cpu") == "eager"
    assert "sdpa (flash-attn not used: it needs a CUDA GPU, the device is cpu)" in caplog.text
    assert "eager, as asked" in caplog.text
    tiny_model().save_pretrained(tmp_path)
    for name in ("eager", "sdpa"):
        model = AutoModelForImageTextToText.from_pretrained(tmp_path, attn_implementation=name)
        assert model.attention == name
        assert model.vision_tower.config._attn_implementation == name


@pytest.mark.parametrize(
    ("capability", "dtype", "installed", "chosen", "reason"),
    [
        ((8, 0), torch.bfloat16, True, "flash_attention_2", "attention: flash_attention_2"),
        ((9, 0), torch.float16, True, "flash_attention_2", "attention: flash_attention_2"),
        ((9, 0), torch.float32, True, "sdpa", "needs float16 or bfloat16, the weights are torch.float32"),
        ((7, 5), torch.float16, True, "sdpa", "needs compute capability 8.0, the GPU has 7.5"),
        ((8, 6), torch.float16, False, "sdpa", "it is not installed"),
    ],
)
def test_flash_attention_is_taken_where_it_fits(
    monkeypatch, caplog, capability, dtype, installed, chosen, reason
):
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda _: capability)
    monkeypatch.setattr(attention, "is_flash_attn_2_available", lambda: installed)
    with caplog.at_level(logging.INFO, logger="litakit.modeling.attention"):
        assert choose_attention("auto", dtype, "cuda") == chosen
    assert reason in caplog.text
