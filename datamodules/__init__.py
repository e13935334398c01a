"""Data sets, their batches, and the samplers and views that turn the ones into the others."""
