"""From pairs of text to the tensors of a micro-batch."""
