"""Hand-written fast paths; each computes what the plain path that it replaces computes."""
