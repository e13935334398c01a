"""What judges phrase grounding: pure functions, and thin ``torchmetrics`` classes around them that keep sums
only.
"""
