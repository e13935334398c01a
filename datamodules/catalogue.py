"""All data sets. A new one is listed here, and is then known to the command line and tested."""

from datamodules.base import GroundingDataModule
from datamodules.cross import CrossDataset
from datamodules.sets.ade20k import ADE20k
from datamodules.sets.caption_vectors import CaptionVectors
from datamodules.sets.cc3m_tagmask import CC3MTagMask
from datamodules.sets.cityscapes import Cityscapes
from datamodules.sets.coco_captions import COCOCaptions
from datamodules.sets.coco_segmentation import COCOObject, COCOStuff
from datamodules.sets.coco_tags import COCOTags
from datamodules.sets.conceptual_captions import ConceptualCaptions
from datamodules.sets.flickr30k_entities import Flickr30kEntities
from datamodules.sets.flickr30k_spans import Flickr30kSpans
from datamodules.sets.foil_coco import FoilCOCO
from datamodules.sets.image_caption_folder import ImageCaptionFolder
from datamodules.sets.multi_mnist import MultiMNIST
from datamodules.sets.nus_wide import NUSWide
from datamodules.sets.pascal_context import PascalContext
from datamodules.sets.refcoco import RefCOCO, RefCOCOg, RefCOCOPlus
from datamodules.sets.refcoco_pairs import RefCOCOPairs
from datamodules.sets.referit import ReferIt
from datamodules.sets.retrieval import COCORetrieval, Flickr30kRetrieval
from datamodules.sets.scene_captions import SceneCaptions
from datamodules.sets.scenes import Scenes
from datamodules.sets.svo_probes import SVOProbes
from datamodules.sets.visual_genome import VisualGenome
from datamodules.sets.voc import PascalVOC
from datamodules.sets.vqa import VQA
from datamodules.storage.layout import Layout

# Images with captions to learn from, or with phrases and boxes to be judged on, or both.
CAPTIONS_AND_PHRASES = (
    COCOCaptions,
    ConceptualCaptions,
    CrossDataset,
    Flickr30kEntities,
    ImageCaptionFolder,
    MultiMNIST,
    RefCOCO,
    RefCOCOg,
    RefCOCOPairs,
    RefCOCOPlus,
    ReferIt,
    Scenes,
    VisualGenome,
)
# Judged on something else: spans, pixels, tags, classes, pairs, retrieval, questions.
OTHER_JUDGED = (
    ADE20k,
    CC3MTagMask,
    COCOObject,
    COCORetrieval,
    COCOStuff,
    COCOTags,
    Cityscapes,
    Flickr30kRetrieval,
    Flickr30kSpans,
    FoilCOCO,
    NUSWide,
    PascalContext,
    PascalVOC,
    SVOProbes,
    VQA,
)
DATASETS: tuple[type[GroundingDataModule], ...] = (*CAPTIONS_AND_PHRASES, *OTHER_JUDGED)
# Captions to learn from without images of files.
WITHOUT_IMAGES: tuple[type[GroundingDataModule], ...] = (CaptionVectors, SceneCaptions)


def layouts() -> dict[str, Layout]:
    """The layouts of all data sets that have a publisher, by the name of their class."""
    return {kind.__name__: kind.layout for kind in DATASETS if kind.layout is not None}
