"""The only room that knows the model's classes, adapters and generation."""
