"""All data sets. A new one is listed here, and is then known to the command line and tested."""

from datamodules.ade20k import ADE20k
from datamodules.caption_vectors import CaptionVectors
from datamodules.cc3m_tagmask import CC3MTagMask
from datamodules.cityscapes import Cityscapes
from datamodules.coco_captions import COCOCaptions
from datamodules.coco_segmentation import COCOObject, COCOStuff
from datamodules.conceptual_captions import ConceptualCaptions
from datamodules.cross import CrossDataset
from datamodules.flickr30k_entities import Flickr30kEntities
from datamodules.flickr30k_spans import Flickr30kSpans
from datamodules.foil_coco import FoilCOCO
from datamodules.image_caption_folder import ImageCaptionFolder
from datamodules.made_scenes import Scenes
from datamodules.multi_mnist import MultiMNIST
from datamodules.nus_wide import NUSWide
from datamodules.pascal_context import PascalContext
from datamodules.refcoco import RefCOCO, RefCOCOg, RefCOCOPairs, RefCOCOPlus
from datamodules.referit import ReferIt
from datamodules.retrieval import COCORetrieval, Flickr30kRetrieval
from datamodules.scene_spans import SceneSpans
from datamodules.svo_probes import SVOProbes
from datamodules.visual_genome import VisualGenome
from datamodules.voc import PascalVOC
from datamodules.vqa import VQA

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
DATASETS = (*CAPTIONS_AND_PHRASES, *OTHER_JUDGED)
# Captions to learn from without images of files.
WITHOUT_IMAGES = (CaptionVectors, SceneSpans)
