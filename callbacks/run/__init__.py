"""What a run leaves behind: checkpoints, predictions, its record; and what makes it repeatable."""
