"""Preference pairs: what one is, how one is made, and the journal of a round."""
