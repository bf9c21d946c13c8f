"""The recipe of litakit-tiny: a LITA of the published shape, trained from scratch on the shape world.

Five stages, each resumable and each a module: `tokenizer` (pieces learnt from the world's own words),
`vision` (a CLIP tower learns to see things), `features` (the tower frozen, every scene encoded once),
`watching` (the lower half of the language model learns to see what happens), `language` (the whole of it
learns to answer). `python -m litakit.training.tiny WORK MODEL` runs them.
"""
