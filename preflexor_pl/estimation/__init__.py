"""What a run's pairs will cost, before they are paid for."""
