"""How a command begins and ends: its parser, its options, its checks and its run folder."""
