"""Hand-written fast paths, each equal to the plain path that it replaces."""
