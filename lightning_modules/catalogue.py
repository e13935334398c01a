"""All methods. A new one is listed here, and is then known to the command line and tested."""

from lightning_modules.hist.module import HISTFinetune
from lightning_modules.hist.pretrain import ALBEFPretrain

METHODS = (ALBEFPretrain, HISTFinetune)
