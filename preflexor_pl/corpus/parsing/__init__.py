"""Parsers of untrusted formats; they run in the process that ``corpus.sandbox`` starts."""
