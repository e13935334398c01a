"""All methods. A new one is listed here, and is then known to the command line and tested."""

from lightning_modules.backbones.albef import ALBEFBackbone
from lightning_modules.backbones.encoder import ALBEFEncoder
from lightning_modules.hist.module import HISTFinetune
from lightning_modules.mcb_attention.module import MCBAttention
from lightning_modules.mcb_attention.pretrain import DigitPretrain
from lightning_modules.pretraining.module import VisionLanguagePretrain
from lightning_modules.similarity_map.module import SimilarityMapSelfTraining
from lightning_modules.similarity_map.train import WWbLTrain
from lightning_modules.text_group.module import TextGroupDiscovery
from networks.clip import OpenCLIP

METHODS = (
    DigitPretrain,
    HISTFinetune,
    MCBAttention,
    SimilarityMapSelfTraining,
    TextGroupDiscovery,
    VisionLanguagePretrain,
    WWbLTrain,
)
# What methods on a vision-language backbone may be built upon.
BACKBONES = (ALBEFBackbone,)
# What methods that want "a CLIP" may be given.
ENCODERS = (ALBEFEncoder, OpenCLIP)
