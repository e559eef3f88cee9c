"""Training: pictures into windows, windows into targets, the loss, and the trainer."""
