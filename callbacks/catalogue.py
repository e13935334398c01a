"""The callbacks that a config may name."""

from callbacks.evaluations.attention_maps import MapEvaluation
from callbacks.evaluations.description import DescriptionEvaluation
from callbacks.evaluations.grounding import GroundingEvaluation
from callbacks.evaluations.labels import LabelEvaluation
from callbacks.evaluations.questions import QuestionEvaluation
from callbacks.evaluations.ranking import RankEvaluation
from callbacks.evaluations.referring import ReferringEvaluation
from callbacks.evaluations.retrieval import RetrievalEvaluation
from callbacks.evaluations.segmentation import CaptionEvaluation, SegmentationEvaluation
from callbacks.evaluations.spans import SpanEvaluation
from callbacks.evaluations.tags import TagEvaluation
from callbacks.pictures.grounding import Pictures
from callbacks.pictures.groups import GroupPictures
from callbacks.pictures.tags import TagPictures
from callbacks.run.predictions import Predictions

CALLBACKS = (
    CaptionEvaluation,
    DescriptionEvaluation,
    GroundingEvaluation,
    GroupPictures,
    LabelEvaluation,
    MapEvaluation,
    Pictures,
    Predictions,
    QuestionEvaluation,
    RankEvaluation,
    ReferringEvaluation,
    RetrievalEvaluation,
    SegmentationEvaluation,
    SpanEvaluation,
    TagEvaluation,
    TagPictures,
)
