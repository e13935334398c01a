"""Published weights and vocabularies: where they are had, under which licence, and what is known of their
content.
"""

from __future__ import annotations

from datamodules.storage.layout import Layout, Part

ALBEF = "https://storage.googleapis.com/sfr-pcl-data-research/ALBEF"
BLIP = "https://storage.googleapis.com/sfr-vision-language-research/BLIP/models"
CLIP = "https://openaipublic.azureedge.net/clip/models"
FREE = "Nothing: the file is free to fetch."


def _file(
    title: str,
    path: str,
    page: str,
    licence: str,
    size: str,
    url: str = "",
    sha256: str = "",
    requires: str = FREE,
    what: str = "weights",
) -> Layout:
    return Layout(
        title,
        page,
        licence,
        size,
        requires,
        (Part(path, what, 1, url, f"sha256:{sha256}" if sha256 else ""),),
        "data",
    )


def _albef(title: str, name: str, size: str) -> Layout:
    return _file(
        f"ALBEF, {title}",
        name,
        "https://github.com/salesforce/ALBEF",
        "BSD-3-Clause",
        size,
        f"{ALBEF}/{name}",
    )


def _blip(title: str, name: str) -> Layout:
    return _file(
        f"BLIP, {title}",
        name,
        "https://github.com/salesforce/BLIP",
        "BSD-3-Clause",
        "unknown",
        f"{BLIP}/{name}",
    )


def _clip(name: str, sha256: str) -> Layout:
    return _file(
        f"CLIP {name}",
        f"clip/{name}.pt",
        "https://github.com/openai/CLIP",
        "MIT",
        "0.35 GB",
        f"{CLIP}/{sha256}/{name}.pt",
        sha256,
    )


CHECKPOINTS: dict[str, Layout] = {
    "bert-vocabulary": _file(
        "vocabulary of bert-base-uncased (ALBEF, BLIP)",
        "bert/vocab.txt",
        "https://huggingface.co/google-bert/bert-base-uncased",
        "Apache-2.0",
        "0.23 MB",
        "https://huggingface.co/google-bert/bert-base-uncased/resolve/main/vocab.txt",
        "07eced375cec144d27c900241f3e339478dec958f92fddbc551f295c992038a3",
        what="30,522 word pieces",
    ),
    "ALBEF": _albef("pre-trained on 14M images", "ALBEF.pth", "3.3 GB"),
    "ALBEF-refcoco": _albef("fine-tuned on RefCOCO+", "refcoco.pth", "0.8 GB"),
    "ALBEF-mscoco": _albef("fine-tuned for retrieval on COCO", "mscoco.pth", "0.8 GB"),
    "BLIP-base": _blip("ViT-B, captions filtered by ViT-L", "model_base_capfilt_large.pth"),
    "BLIP-large": _blip("ViT-L", "model_large.pth"),
    "CLIP-ViT-B-32": _clip("ViT-B-32", "40d365715913c9da98579312b702a82c18be219cc2a73407c4526f58eba950af"),
    "CLIP-ViT-B-16": _clip("ViT-B-16", "5806e77cd80f8b59890b7e101eabd078d9fb84e6937f9e85e4ecb61988df416f"),
    "GroupViT": _file(
        "GroupViT, GCC3M + GCC12M + YFCC14M",
        "group_vit_gcc_yfcc_30e-879422e0.pth",
        "https://github.com/xvjiarui/GroupViT",
        "unknown here: see the repository",
        "unknown",
        requires="Fetch it by hand from the table of the page above; the same weights are nvidia/groupvit-gcc-yfcc at huggingface.co "
        "(nvidia/groupvit-gcc-redcaps are others).",
    ),
    "TCL": _file(
        "TCL",
        "tcl.pth",
        "https://github.com/kakaobrain/tcl",
        "unknown here: see the repository",
        "unknown",
        "https://github.com/kakaobrain/tcl/releases/download/v1.0.0/tcl.pth",
    ),
    "WWbL": _file(
        "g of WWbL, trained on COCO or Visual Genome (whole pickled modules)",
        "net_best.pth",
        "https://github.com/talshaharabany/what-is-where-by-looking",
        "unknown here: see the repository",
        "unknown",
        requires="Fetch it by hand from the Google Drive folders that the page names.",
    ),
}
