"""What training changed, measured on held-out documents."""
