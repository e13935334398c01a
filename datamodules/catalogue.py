"""All data sets. A new one is listed here, and is then known to the command line and tested."""

from datamodules.coco_captions import COCOCaptions
from datamodules.cross import CrossDataset
from datamodules.flickr30k_entities import Flickr30kEntities
from datamodules.image_caption_folder import ImageCaptionFolder
from datamodules.made_scenes import Scenes

DATASETS = (COCOCaptions, CrossDataset, Flickr30kEntities, ImageCaptionFolder, Scenes)
