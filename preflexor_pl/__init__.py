"""A small language model teaches itself to reason over a corpus: PRefLexOR on PyTorch Lightning."""
