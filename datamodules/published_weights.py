"""Published weights and vocabularies: where to obtain them, under which licence, and their checksums."""

from __future__ import annotations

from datamodules.storage.layout import Layout, Part

ALBEF = "https://storage.googleapis.com/sfr-pcl-data-research/ALBEF"
BLIP = "https://storage.googleapis.com/sfr-vision-language-research/BLIP/models"
CLIP = "https://openaipublic.azureedge.net/clip/models"


def _file(
    name: str,
    title: str,
    path: str,
    page: str,
    licence: str,
    size: str,
    content: str = "weights",
    url: str = "",
    sha256: str = "",
    by_hand: str = "",
) -> Layout:
    """The layout of a single file below ``data``."""
    checksum = f"sha256:{sha256}" if sha256 else ""
    part = Part(path, content, 1, url=url, checksum=checksum, by_hand=by_hand)
    return Layout(name, title, page, licence, size, "data", (part,))


def _albef(name: str, title: str, file: str, size: str) -> Layout:
    page = "https://github.com/salesforce/ALBEF"
    return _file(name, f"ALBEF, {title}", file, page, "BSD-3-Clause", size, url=f"{ALBEF}/{file}")


def _blip(name: str, title: str, file: str) -> Layout:
    page = "https://github.com/salesforce/BLIP"
    return _file(name, f"BLIP, {title}", file, page, "BSD-3-Clause", "unknown", url=f"{BLIP}/{file}")


def _clip(architecture: str, sha256: str) -> Layout:
    return _file(
        f"CLIP-{architecture}",
        f"CLIP {architecture}",
        f"clip/{architecture}.pt",
        "https://github.com/openai/CLIP",
        "MIT",
        "0.35 GB",
        url=f"{CLIP}/{sha256}/{architecture}.pt",
        sha256=sha256,
    )


PUBLISHED_WEIGHTS = (
    _file(
        "bert-vocabulary",
        "vocabulary of bert-base-uncased (ALBEF, BLIP)",
        "bert/vocab.txt",
        "https://huggingface.co/google-bert/bert-base-uncased",
        "Apache-2.0",
        "0.23 MB",
        content="30,522 word pieces",
        url="https://huggingface.co/google-bert/bert-base-uncased/resolve/main/vocab.txt",
        sha256="07eced375cec144d27c900241f3e339478dec958f92fddbc551f295c992038a3",
    ),
    _albef("ALBEF", "pre-trained on 14M images", "ALBEF.pth", "3.3 GB"),
    _albef("ALBEF-refcoco", "fine-tuned on RefCOCO+", "refcoco.pth", "0.8 GB"),
    _albef("ALBEF-mscoco", "fine-tuned for retrieval on COCO", "mscoco.pth", "0.8 GB"),
    _blip("BLIP-base", "ViT-B, captions filtered by ViT-L", "model_base_capfilt_large.pth"),
    _blip("BLIP-large", "ViT-L", "model_large.pth"),
    _clip("ViT-B-32", "40d365715913c9da98579312b702a82c18be219cc2a73407c4526f58eba950af"),
    _clip("ViT-B-16", "5806e77cd80f8b59890b7e101eabd078d9fb84e6937f9e85e4ecb61988df416f"),
    _file(
        "GroupViT",
        "GroupViT, GCC3M + GCC12M + YFCC14M",
        "group_vit_gcc_yfcc_30e-879422e0.pth",
        "https://github.com/xvjiarui/GroupViT",
        "unknown here: see the repository",
        "unknown",
        by_hand="from the table of https://github.com/xvjiarui/GroupViT; the same weights are "
        "nvidia/groupvit-gcc-yfcc at huggingface.co (nvidia/groupvit-gcc-redcaps are others)",
    ),
    _file(
        "TCL",
        "TCL",
        "tcl.pth",
        "https://github.com/kakaobrain/tcl",
        "unknown here: see the repository",
        "unknown",
        url="https://github.com/kakaobrain/tcl/releases/download/v1.0.0/tcl.pth",
    ),
    _file(
        "WWbL",
        "g of WWbL, trained on COCO or Visual Genome (whole pickled modules)",
        "net_best.pth",
        "https://github.com/talshaharabany/what-is-where-by-looking",
        "unknown here: see the repository",
        "unknown",
        by_hand="from the Google Drive folders that "
        "https://github.com/talshaharabany/what-is-where-by-looking names",
    ),
)
WEIGHTS: dict[str, Layout] = {layout.name: layout for layout in PUBLISHED_WEIGHTS}
