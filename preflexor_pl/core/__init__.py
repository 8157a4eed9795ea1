"""What every room stands on: errors, seeds, markers, chat format, settings."""
