"""What a run will cost, before it is paid for."""
