"""TTD: text-tag self-distillation."""
