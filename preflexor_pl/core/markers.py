"""The four marker strings, the trigger that asks for thinking, and each marker's describing words.

Only strings live here; token ids belong to the tokenizer and are looked up where they are used.
"""

from types import MappingProxyType

THINK_START = "<|thinking|>"
THINK_END = "<|/thinking|>"
REFLECT_START = "<|reflect|>"
REFLECT_END = "<|/reflect|>"

MARKERS = (THINK_START, THINK_END, REFLECT_START, REFLECT_END)

TRIGGER = f" Use {THINK_START}."  # appended to a question as it is, leading space included

# A marker's first embedding row is the mean of these words' rows: the same in every run, and
# already near its meaning. No two markers share a word, so that no two rows start almost equal.
DESCRIBING_WORDS = MappingProxyType(
    {
        THINK_START: ("thinking", "reasoning", "begin"),
        THINK_END: ("end", "conclusion", "answer"),
        REFLECT_START: ("reflect", "review", "critique"),
        REFLECT_END: ("finish", "revised", "final"),
    }
)
