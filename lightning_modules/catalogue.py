"""All methods. A new one is listed here, and is then known to the command line and tested."""

from lightning_modules.albef.module import ALBEFPretrain
from lightning_modules.hist.module import HISTFinetune
from lightning_modules.mcb_attention.module import MCBAttention
from lightning_modules.mcb_attention.pretrain import DigitPretrain
from lightning_modules.text_group.module import TextGroupDiscovery

METHODS = (ALBEFPretrain, DigitPretrain, HISTFinetune, MCBAttention, TextGroupDiscovery)
