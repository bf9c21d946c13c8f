"""The recipe of litakit-tiny: a LITA of the published shape, trained from scratch on the shape world.

Four stages, each resumable and each a module: `tokenizer` (pieces learnt from the world's own words),
`vision` (a CLIP tower learns to see things), `features` (the tower frozen, every scene encoded once),
`language` (the language model learns to answer). `python -m litakit.training.tiny WORK MODEL` runs them.
"""
