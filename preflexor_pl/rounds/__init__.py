"""The rounds of a run: what each is made of, made, read again and tokenised."""
