"""The time tokens' rows of embedding and head, learnt by themselves beside matrices that stay as they are."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

if TYPE_CHECKING:
    from litakit.modeling import LitaForConditionalGeneration

NAME = "time_rows"
"""Of the submodule that holds them."""


class Rows(nn.Module):
    """Some rows of a matrix, as parameters of their own.

    Args:
        ids: numbers of the rows.
        weight: the matrix; its rows are what these begin as.
        bias: the head's, where it has one.
    """

    def __init__(self, ids: Tensor, weight: Tensor, bias: Tensor | None = None) -> None:
        super().__init__()
        self.register_buffer("ids", ids, persistent=False)
        self.weight = nn.Parameter(weight.detach()[ids].clone())  # (N, D)
        self.bias = None if bias is None else nn.Parameter(bias.detach()[ids].clone())

    def forward(self, given: Tensor, made: Tensor) -> Tensor:
        """Return what a layer made, these rows in the place of its own.

        Args:
            given: ids that were embedded, (B, L), or the states that the head was given, (B, L, D).
            made: embeddings (B, L, D), or logits (B, L, V).
        """
        ids = self.get_buffer("ids")
        if not given.is_floating_point():
            is_row = given[..., None] == ids  # (B, L, N)
            own = self.weight[is_row.int().argmax(dim=-1)]
            return torch.where(is_row.any(dim=-1, keepdim=True), own.to(made.dtype), made)
        own = nn.functional.linear(given, self.weight.to(given.dtype), self.bias)
        return made.index_copy_(-1, ids, own.to(made.dtype))


def learn_time_rows(model: LitaForConditionalGeneration) -> None:
    """Make the rows of the time tokens learn, and of the two matrices nothing else.

    The matrices themselves get no gradient, so that no optimiser, decay or clipping can touch their other
    rows. `fold_time_rows` puts the rows back. A model without time tokens is left as it is.

    Args:
        model: whose embedding and head stand still.
    """
    ids = torch.tensor(model.config.time_token_ids or [], dtype=torch.long)
    if not len(ids):
        return
    embedding, head = model.get_input_embeddings(), model.get_output_embeddings()
    embedding.requires_grad_(requires_grad=False)
    head.requires_grad_(requires_grad=False)
    rows = nn.ModuleDict({"embedding": Rows(ids, embedding.weight)})  # type: ignore[arg-type]
    if head.weight is not embedding.weight:
        rows["head"] = Rows(ids, head.weight, head.bias)  # type: ignore[arg-type]
    model.add_module(NAME, rows.to(model.device))
    _hook(embedding, rows["embedding"])
    _hook(head, rows["head" if "head" in rows else "embedding"])


def _hook(layer: nn.Module, rows: nn.Module) -> None:
    def replace_rows(_: nn.Module, given: tuple[Any, ...], made: Tensor) -> Tensor:
        replaced: Tensor = rows(given[0], made)
        return replaced

    layer.register_forward_hook(replace_rows)


def fold_time_rows(model: LitaForConditionalGeneration, state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return a model's weights with the rows of the time tokens in their matrices, and no longer apart.

    Args:
        model: that they are of.
        state: weights by the model's own names; those that are not there are not made.
    """
    folded = {name: value for name, value in state.items() if not name.startswith(f"{NAME}.")}
    ids = model.config.time_token_ids or []
    layers = {"embedding": model.get_input_embeddings(), "head": model.get_output_embeddings()}
    names = {id(layer): name for name, layer in model.named_modules()}
    for part, layer in layers.items():
        for kind in ("weight", "bias"):
            rows, name = state.get(f"{NAME}.{part}.{kind}"), f"{names[id(layer)]}.{kind}"
            if rows is not None and name in folded:
                whole = folded[name].clone()
                whole[ids] = rows.to(whole)
                folded[name] = whole
    return folded
