"""The callbacks that a config may name."""

from callbacks.grounding_evaluation import GroundingEvaluation
from callbacks.group_pictures import GroupPictures
from callbacks.map_evaluation import MapEvaluation
from callbacks.pictures import Pictures
from callbacks.predictions import Predictions
from callbacks.rank_evaluation import RankEvaluation
from callbacks.span_evaluation import SpanEvaluation

CALLBACKS = (GroundingEvaluation, GroupPictures, MapEvaluation, Pictures, Predictions, RankEvaluation, SpanEvaluation)
