"""Loading a LITA from a folder of any layout, and converting published ones.

Three layouts are read: the folder that `save_pretrained` writes; a published LITA checkpoint as it is; and an
adapter-only folder (a projector file, or a LoRA adapter) over a base model that is given separately.
"""

from __future__ import annotations

import importlib.util
import logging
import shutil
import tempfile
from pathlib import Path
from typing import Any, Literal

import torch
from safetensors import SafetensorError
from torch import Tensor, nn
from transformers import BitsAndBytesConfig, CLIPImageProcessorPil, GenerationConfig

from litakit.modeling import published
from litakit.modeling.adapters import apply_adapter, is_adapter
from litakit.modeling.attention import choose_attention
from litakit.modeling.configuration import LitaConfig
from litakit.modeling.devices import choose_device, choose_dtype
from litakit.modeling.model import LitaForConditionalGeneration
from litakit.modeling.parts import grow_rows
from litakit.modeling.processor import LitaProcessor
from litakit.modeling.tokenizer import build_tokenizer
from litakit.modeling.weights import check_tensors, read_weights
from litakit.time_tokens import make_time_codec

logger = logging.getLogger(__name__)

CPU_ROWS, CPU_COLUMNS = 32, 64
Quantization = Literal["4bit", "8bit"]
KEPT_WHOLE = ["vision_tower", "projector", "lm_head", "embed_tokens"]
"""What is never quantised: small, or (the time tokens' rows) where every bit counts."""


def load_model(
    folder: str | Path,
    *,
    base: str | Path | None = None,
    dtype: str | torch.dtype | None = None,
    device: str | torch.device | None = None,
    quantization: Quantization | None = None,
    attention: str = "auto",
    device_map: str | dict[str, Any] | None = None,
) -> tuple[LitaForConditionalGeneration, LitaProcessor]:
    """Load a model with its processor.

    Args:
        folder: HF-native, published, or adapter-only.
        base: the base model's folder, for an adapter-only one.
        dtype: type of the weights; by default what suits the device.
        device: where it runs; by default the best there is.
        quantization: "4bit" or "8bit", through bitsandbytes.
        attention: "auto", or a name that transformers knows.
        device_map: spreads the model over several devices, as in transformers; then `device` must be None.

    Returns:
        The model, in evaluation mode, and its processor.

    Raises:
        FileNotFoundError: a folder or file is not there.
        ValueError: weights cut off, missing or of another shape, each named; options that exclude each other.
        ImportError: quantisation without bitsandbytes.
    """
    folder = Path(folder)
    if device_map is not None and device is not None:
        raise ValueError(f"device {device!r} and device_map {device_map!r} exclude each other: give one")
    target = choose_device(device)
    kind = choose_dtype(dtype, target)
    options: dict[str, Any] = {
        "dtype": kind,
        "attn_implementation": choose_attention(attention, kind, target),
    }
    if device_map is not None:
        options["device_map"] = device_map
    elif quantization is not None:
        options["device_map"] = {"": target}
    if published.read_config(folder).get("model_type") == LitaConfig.model_type:
        if base is not None:
            raise ValueError(f"{folder} is a whole model: leave out the base {base}")
        config = LitaConfig.from_pretrained(folder)
        options |= _quantized(config, quantization, kind, target)
        model, processor = _load_native(folder, config, options)
    else:
        config, state, processor = read_published(folder, None if base is None else Path(base))
        model = build(config, state, options | _quantized(config, quantization, kind, target))
    if quantization is None and device_map is None:
        nn.Module.to(model, target)
    return model.eval(), processor


def convert(source: str | Path, destination: str | Path, base: str | Path | None = None) -> Path:
    """Write a published checkpoint (or an adapter over its base) as one HF-native folder.

    The folder is written aside and then renamed; types of the weights stay as they are.

    Raises:
        FileExistsError: the destination holds something.
        OSError: it cannot be written, as on a full disk; then nothing is left there.
        FileNotFoundError, ValueError: as :func:`load_model`.
    """
    source, destination = Path(source), Path(destination)
    if destination.exists() and (not destination.is_dir() or any(destination.iterdir())):
        raise FileExistsError(f"{destination} exists and is not empty: choose another folder, or remove it")
    if published.read_config(source).get("model_type") == LitaConfig.model_type:
        raise ValueError(f"{source} is in the HF-native layout already: nothing to convert")
    config, state, processor = read_published(source, None if base is None else Path(base))
    kind = state["language_model." + published.HEAD].dtype
    model = build(config, state, {"dtype": kind})
    destination.parent.mkdir(parents=True, exist_ok=True)
    aside = Path(tempfile.mkdtemp(prefix=f".{destination.name}.", dir=destination.parent))
    try:
        aside.chmod(0o755)
        model.save_pretrained(aside)
        processor.save_pretrained(aside)
        if destination.exists():
            destination.rmdir()
        aside.rename(destination)
    except SafetensorError as error:  # a full disk, for one
        raise OSError(f"{destination}: cannot be written ({error})") from error
    finally:
        shutil.rmtree(aside, ignore_errors=True)
    return destination


def read_published(
    folder: Path, base: Path | None = None
) -> tuple[LitaConfig, dict[str, Tensor], LitaProcessor]:
    """A published folder as configuration, weights by our names, and processor.

    Raises:
        FileNotFoundError, ValueError: as :func:`load_model`.
    """
    weights = _published_weights(folder, base)
    folders = [folder] if base is None else [base]
    _check_vocabulary(weights, folder, folders[0])
    config = published.published_config(folder, vocab_size=len(weights[published.EMBEDDING]))
    if not any(name.startswith(published.VISION) for name in weights):
        weights |= published.vision_weights(folder, published.read_config(folder)["mm_vision_tower"])
    for name in (published.EMBEDDING, published.HEAD):
        weights[name] = grow_rows(weights[name], config.text_config.vocab_size)
    state = {our: weights[name] for name in weights if (our := published.our_name(name)) is not None}
    check_tensors(state, _blank(config).state_dict(), folders, published.published_name)
    own = any((folder / name).is_file() for name in ("tokenizer.model", "tokenizer.json"))
    tokens = folder if own or base is None else base
    tokenizer = build_tokenizer(
        tokens,
        config.num_time_tokens,
        use_im_patch=config.use_im_patch,
        use_im_start_end=config.use_im_start_end,
    )
    names = tokenizer.convert_ids_to_tokens(config.time_token_ids)
    if names != list(make_time_codec("tokens", config.num_time_tokens).tokens if names else ()):
        raise ValueError(
            f"{tokens}: the tokenizer has {names[0]!r} to {names[-1]!r} at the time_token_ids of "
            f"{folder / 'config.json'}: they are of different models"
        )
    tower = published.vision_folder(folder, published.read_config(folder)["mm_vision_tower"])
    images = image_processor_of(tower, config)
    return config, state, LitaProcessor.from_config(config, images, tokenizer)


def _published_weights(folder: Path, base: Path | None) -> dict[str, Tensor]:
    if not is_adapter(folder):
        if base is not None:
            raise ValueError(f"{folder} holds a whole model: leave out the base {base}")
        return read_weights(folder)
    if base is None:
        raise ValueError(f"{folder} holds an adapter only: name the folder of its base model (base=, --base)")
    fields = published.read_config(folder)
    ids = fields["time_token_ids"] if fields.get("num_time_tokens") and fields.get("time_token_ids") else []
    weights = read_weights(base)
    if published.EMBEDDING not in weights:
        raise ValueError(
            f"{base}: lacks the tensor {published.EMBEDDING}: the base of an adapter is the folder of a "
            "Llama or Vicuna, or a published LITA's"
        )
    rows = max(
        [fields.get("vocab_size", 0), len(weights[published.EMBEDDING]), *(token + 1 for token in ids)]
    )
    return apply_adapter(folder, weights, rows, ids)


def _check_vocabulary(weights: dict[str, Tensor], folder: Path, source: Path) -> None:
    """Hold embedding, head and time-token ids against each other."""
    fields = published.read_config(folder)
    if published.HEAD not in weights and fields.get("tie_word_embeddings") and published.EMBEDDING in weights:
        weights[published.HEAD] = weights[published.EMBEDDING]
    for name in (published.EMBEDDING, published.HEAD):
        if name not in weights:
            raise ValueError(f"{source}: lacks the tensor {name}, is it a Llama's or a LITA's folder?")
    rows, head_rows = len(weights[published.EMBEDDING]), len(weights[published.HEAD])
    if head_rows != rows:
        raise ValueError(
            f"{source}: {published.HEAD} has {head_rows} rows, {published.EMBEDDING} {rows}: one of them is "
            "cut off, or of another model"
        )
    last = max(fields.get("time_token_ids") or [-1])
    if fields.get("num_time_tokens") and last >= rows:
        raise ValueError(
            f"{source}: {published.EMBEDDING} has {rows} rows, the time_token_ids of "
            f"{folder / 'config.json'} go up to {last}"
        )


def image_processor_of(tower: Path | None, config: LitaConfig) -> CLIPImageProcessorPil:
    """The preprocessing that a vision tower's folder asks for, else CLIP's."""
    if tower is not None and (tower / "preprocessor_config.json").is_file():
        return CLIPImageProcessorPil.from_pretrained(tower)
    size = config.vision_config.image_size
    return CLIPImageProcessorPil(size={"shortest_edge": size}, crop_size={"height": size, "width": size})


def build(
    config: LitaConfig, state: dict[str, Tensor], options: dict[str, Any]
) -> LitaForConditionalGeneration:
    """The model of a configuration with the weights of a published folder; it answers greedily."""
    model = LitaForConditionalGeneration.from_pretrained(None, config=config, state_dict=state, **options)
    model.generation_config = GenerationConfig(
        bos_token_id=config.text_config.bos_token_id,
        eos_token_id=config.text_config.eos_token_id,
        pad_token_id=config.text_config.pad_token_id or 0,
        do_sample=False,
    )
    return model


def _load_native(
    folder: Path, config: LitaConfig, options: dict[str, Any]
) -> tuple[LitaForConditionalGeneration, LitaProcessor]:
    blank = _blank(config)
    state = read_weights(folder)
    expected = blank.state_dict()
    by_weight: dict[int, list[str]] = {}
    for name, weight in blank.named_parameters(remove_duplicate=False):
        by_weight.setdefault(id(weight), []).append(name)
    for names in by_weight.values():  # of tied weights the files hold one
        for name in names if any(name in state for name in names) else ():
            if name not in state:
                del expected[name]
    check_tensors(state, expected, [folder])
    model = LitaForConditionalGeneration.from_pretrained(folder, **options)
    return model, LitaProcessor.from_pretrained(folder)


def _blank(config: LitaConfig) -> LitaForConditionalGeneration:
    """The model without memory for its weights, to know their names and shapes by."""
    with torch.device("meta"):
        return LitaForConditionalGeneration(config)


def _quantized(
    config: LitaConfig, quantization: Quantization | None, dtype: torch.dtype, device: torch.device
) -> dict[str, Any]:
    """What `from_pretrained` is told of quantisation: nothing, or a configuration for bitsandbytes."""
    if quantization is None:
        return {}
    if quantization not in ("4bit", "8bit"):
        raise ValueError(f"quantization must be '4bit' or '8bit', got {quantization!r}")
    if importlib.util.find_spec("bitsandbytes") is None:
        raise ImportError(
            f"loading in {quantization} needs bitsandbytes, which is not installed: "
            "pip install 'litakit[quant]'"
        )
    if quantization == "8bit":
        return {
            "quantization_config": BitsAndBytesConfig(load_in_8bit=True, llm_int8_skip_modules=KEPT_WHOLE)
        }
    kept = list(KEPT_WHOLE)
    if device.type == "cpu":  # there bitsandbytes packs a matrix in blocks, and fails where they do not fit
        kept += [
            name
            for name, module in _blank(config).named_modules()
            if isinstance(module, nn.Linear)
            and (module.out_features % CPU_ROWS or module.in_features % CPU_COLUMNS)
        ]
    return {
        "quantization_config": BitsAndBytesConfig(
            load_in_4bit=True,
            bnb_4bit_quant_type="nf4",
            bnb_4bit_compute_dtype=dtype,
            bnb_4bit_use_double_quant=True,
            llm_int8_skip_modules=kept,
        )
    }
