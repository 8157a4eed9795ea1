"""A small language model teaches itself to reason over a corpus: PRefLexOR on PyTorch Lightning."""

import sys

if sys.argv[:1] == ["-m"]:  # python -m preflexor_pl.X: the command's modules are about to load
    from preflexor_pl.core.signals import end_at_once

    end_at_once()
