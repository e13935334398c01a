"""How methods are judged: pure functions, and thin ``torchmetrics`` classes around them."""
