"""The callbacks that a config may name."""

from callbacks.grounding_evaluation import GroundingEvaluation
from callbacks.pictures import Pictures
from callbacks.predictions import Predictions

CALLBACKS = (GroundingEvaluation, Pictures, Predictions)
