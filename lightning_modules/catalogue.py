"""All methods. A new one is listed here, and is then known to the command line and tested."""

from lightning_modules.alignment.module import PhraseAlignment
from lightning_modules.amc.module import AMCFinetune
from lightning_modules.backbones.albef import ALBEFBackbone
from lightning_modules.backbones.albef_encoder import ALBEFEncoder
from lightning_modules.backbones.blip import BLIPBackbone
from lightning_modules.backbones.photo_albef import PhotoALBEFBackbone
from lightning_modules.backbones.photo_encoder import PhotoEncoder
from lightning_modules.hist.module import HISTFinetune
from lightning_modules.mcb_attention.module import MCBAttention
from lightning_modules.mcb_attention.pretrain import DigitPretrain
from lightning_modules.pretraining.module import VisionLanguagePretrain
from lightning_modules.retrieval.module import RetrievalFinetune
from lightning_modules.selfeq.module import SelfEQFinetune
from lightning_modules.similarity_map.module import SimilarityMapSelfTraining
from lightning_modules.similarity_map.train import WWbLTrain
from lightning_modules.text_group.module import TextGroupDiscovery
from lightning_modules.ttd.backbones import MaskCLIP, PublishedTCL
from lightning_modules.ttd.module import TTDSelfDistill
from lightning_modules.vqa.module import VQAFinetune
from networks.clip import OpenCLIP
from networks.dense_dual_encoder import DenseDualEncoder

METHODS = (
    AMCFinetune,
    DigitPretrain,
    HISTFinetune,
    MCBAttention,
    PhraseAlignment,
    RetrievalFinetune,
    SelfEQFinetune,
    SimilarityMapSelfTraining,
    TTDSelfDistill,
    TextGroupDiscovery,
    VQAFinetune,
    VisionLanguagePretrain,
    WWbLTrain,
)
# What methods on a vision-language backbone may be built upon.
BACKBONES = (ALBEFBackbone, BLIPBackbone, PhotoALBEFBackbone)
# What stands for CLIP, see `networks.image_text_encoder`.
IMAGE_TEXT_ENCODERS = (ALBEFEncoder, OpenCLIP, PhotoEncoder)
# What compares every pixel with texts, see `networks.dense_encoder`.
DENSE_ENCODERS = (DenseDualEncoder, MaskCLIP, PublishedTCL)
