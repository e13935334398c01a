"""Layouts of segmentation, tags, pairs to be told apart, retrieval and questions, and what several sets
share. See `layouts`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from datamodules.storage.layout import Layout, Part, Total

COCO_PAGE = "https://cocodataset.org"
COCO_LICENCE = "COCO's annotations CC BY 4.0, its photographs under their Flickr licences"
COCO_ZIPS = "http://images.cocodataset.org"
FLICKR_LICENCE = (
    "photographs: Flickr terms of use, non-commercial research and education only; annotations: none stated"
)
FLICKR_REQUEST = "The photographs are given on request: fill in the form at https://shannon.cs.illinois.edu/DenotationGraph/."


def coco_zip(
    subset: str, count: int, size: int, checksum: str, where: Mapping[str, str] | None = None
) -> Part:
    """The photographs of a subset such as train2014."""
    return Part(
        f"{subset}/*.jpg",
        f"photographs of {subset}",
        count,
        f"{COCO_ZIPS}/zips/{subset}.zip",
        f"sha256:{checksum}",
        size,
        ".",
        where or {},
        elsewhere=(f"images/{subset}/*.jpg",),
        given=("images", "*.jpg"),
    )


TRAIN_2014 = coco_zip(
    "train2014", 82_783, 13_510_573_713, "ede4087e640bddba550e090eae701092534b554b42b05ac33f0300b984b31775"
)
VAL_2014 = coco_zip(
    "val2014", 40_504, 6_645_013_297, "fe9be816052049c34717e077d9e34aa60814a55679f804cd043e3cbee3b9fde0"
)
VAL_2017 = coco_zip(
    "val2017", 5_000, 815_585_330, "4f7e2ccb2866ec5041993c9cf2a952bbed69647b115d0f74da7ce8f4bef82f05"
)
FLICKR_IMAGES = Part(
    "flickr30k_images/*.jpg",
    "photographs",
    31_783,
    elsewhere=("flickr30k_images/flickr30k_images/*.jpg",),
    given=("images", "*.jpg"),
)
KARPATHY = "https://cs.stanford.edu/people/karpathy/deepimagesent/caption_datasets.zip"
DATASET_COCO = Part("dataset_coco.json", "captions and splits", 1, KARPATHY, unpack=".")
VOC_TAR = Part(
    "VOCdevkit/VOC2012/JPEGImages/*.jpg",
    "photographs",
    17_125,
    "https://thor.robots.ox.ac.uk/pascal/VOC/voc2012/VOCtrainval_11-May-2012.tar",
    "sha256:e14f763270cf193d0b5f74b169f44157a4b0c6efa708f4dd0ff78ee691763bcb",
    1_999_639_040,
    ".",
    elsewhere=("VOC2012/JPEGImages/*.jpg", "JPEGImages/*.jpg"),
)
ADE_ZIP = Part(
    "ADEChallengeData2016/images/validation/*.jpg",
    "photographs",
    2_000,
    "http://data.csail.mit.edu/places/ADEchallenge/ADEChallengeData2016.zip",
    "sha256:7ff1be44964418441f542a7cc1e1a650e7dc0fc275f5d23252bc9bbdbc977b29",
    967_382_037,
    ".",
    elsewhere=("images/validation/*.jpg",),
)
STUFF_MAPS = Part(
    "stuffthingmaps_trainval2017/val2017/*.png",
    "label maps",
    5_000,
    "http://calvin.inf.ed.ac.uk/wp-content/uploads/data/cocostuffdataset/stuffthingmaps_trainval2017.zip",
    unpack="stuffthingmaps_trainval2017",
    elsewhere=("annotations/val2017/*.png",),
)
COCO_STUFF = Layout(
    title="COCO-Stuff, 171 classes",
    page="https://github.com/nightrome/cocostuff",
    licence=f"COCO-Stuff's annotations CC BY 4.0; {COCO_LICENCE}",
    size="about 2 GB",
    requires="Nothing: the archives are free to fetch.",
    root="data/coco",
    parts=(VAL_2017, STUFF_MAPS),
    totals=(Total("val", 5_000), Total("test", 5_000, note="the same: papers judge on val2017")),
)


def _voc(folder: str, path: str) -> tuple[str, tuple[str, ...]]:
    """A path of the VOC kit, and where else it may lie."""
    return f"VOCdevkit/{folder}/{path}", (f"{folder}/{path}", path)


def _context(path: str, what: str, count: int, other: str = "", **others: str) -> Part:
    first, elsewhere = _voc("VOC2010", path)
    more = (*_voc("VOC2010", other)[1], _voc("VOC2010", other)[0]) if other else ()
    return Part(first, what, count, elsewhere=(*elsewhere, *more), **others)  # type: ignore[arg-type]


LABELS: dict[str, Layout] = {
    "PascalVOC": Layout(
        title="PASCAL VOC 2012 segmentation, 20 or 21 classes",
        page="http://host.robots.ox.ac.uk/pascal/VOC/voc2012/",
        licence="photographs: Flickr terms of use",
        size="2 GB",
        requires="Nothing: the archive is free to fetch.",
        root="data/voc2012",
        parts=(
            VOC_TAR,
            replace(
                VOC_TAR,
                path=_voc("VOC2012", "SegmentationClass/*.png")[0],
                what="label maps",
                count=2_913,
                elsewhere=_voc("VOC2012", "SegmentationClass/*.png")[1],
            ),
            replace(
                VOC_TAR,
                path=_voc("VOC2012", "ImageSets/Segmentation/val.txt")[0],
                what="ids of val",
                count=1,
                elsewhere=_voc("VOC2012", "ImageSets/Segmentation/val.txt")[1],
            ),
        ),
        totals=(
            Total("val", 1_449),
            Total("test", 1_449, note="the same: labels of its test list are not public"),
        ),
        rot="host.robots.ox.ac.uk is often slow; the same university's thor.robots.ox.ac.uk is used.",
    ),
    "PascalContext": Layout(
        title="PASCAL Context, 59 or 60 classes",
        page="https://cs.stanford.edu/~roozbeh/pascal-context/",
        licence="photographs: Flickr terms of use; annotations: none stated",
        size="about 2 GB",
        requires="The photographs (VOC 2010) are free to fetch. The label maps are its publishers' trainval/*.mat with labels.txt, or the PNG files and lists "
        "that MMSegmentation's converter makes.",
        root="data/pascal_context",
        parts=(
            _context(
                "JPEGImages/*.jpg",
                "photographs",
                10_103,
                url="https://thor.robots.ox.ac.uk/pascal/VOC/voc2010/VOCtrainval_03-May-2010.tar",
                checksum="md5:da459979d0c395079b5c75ee67908abb",
                unpack=".",
            ),
            _context("SegmentationClassContext/*.png", "label maps", 10_103, "trainval/*.mat"),
            _context("ImageSets/SegmentationContext/val.txt", "ids of val", 1, "ImageSets/Main/val.txt"),
        ),
        totals=(Total("val", 5_105), Total("test", 5_105, note="the same")),
        rot="trainval_merged.json, from which the PNG files are made, was had from codalabuser.blob.core.windows.net; whether it is still there is unknown.",
    ),
    "COCOStuff": COCO_STUFF,
    "COCOObject": replace(
        COCO_STUFF,
        title="COCO-Object, 80 classes and background",
        options={"labels": "stuffthingmaps"},
        parts=(
            VAL_2017,
            replace(STUFF_MAPS, where={"labels": "stuffthingmaps"}),
            Part(
                "annotations/instances_val2017.json",
                "outlines",
                1,
                f"{COCO_ZIPS}/annotations/annotations_trainval2017.zip",
                "sha256:113a836d90195ee1f884e704da6304dfaaecff1f023f49b6ca93c4aaae470268",
                252_907_541,
                ".",
                {"labels": "instances"},
            ),
        ),
    ),
    "Cityscapes": Layout(
        title="Cityscapes, 19 classes",
        page="https://www.cityscapes-dataset.com",
        licence="the publisher's own terms: non-commercial research and teaching",
        size="about 12 GB",
        requires="An account at cityscapes-dataset.com: leftImg8bit_trainvaltest.zip and gtFine_trainvaltest.zip, unpacked.",
        root="data/cityscapes",
        parts=(
            Part("leftImg8bit/val/*/*_leftImg8bit.png", "photographs", 500),
            Part(
                "gtFine/val/*/*_gtFine_labelIds.png",
                "label maps",
                500,
                elsewhere=("gtFine/val/*/*_gtFine_labelTrainIds.png",),
            ),
        ),
        totals=(
            Total("val", 500),
            Total("test", 500, note="the same: labels of its test list are not public"),
        ),
    ),
    "ADE20k": Layout(
        title="ADE20k, 150 classes (scene parsing challenge)",
        page="http://sceneparsing.csail.mit.edu",
        licence="photographs: non-commercial research and education; see the page",
        size="1 GB",
        requires="Nothing: the archive is free to fetch.",
        root="data/ade20k",
        parts=(
            ADE_ZIP,
            replace(
                ADE_ZIP,
                path="ADEChallengeData2016/annotations/validation/*.png",
                what="label maps",
                elsewhere=("annotations/validation/*.png",),
            ),
        ),
        totals=(Total("val", 2_000), Total("test", 2_000, note="the same")),
    ),
    "CC3MTagMask": Layout(
        title="CC3M-TagMask",
        page="https://github.com/shjo-april/TTD",
        licence="unknown; the photographs belong to their authors",
        size="unknown",
        requires="Fetch cc3m_for_evaluation by hand from the Google Drive folder that the page names. The form of its files is not documented.",
        root="data/cc3m_for_evaluation",
        parts=(
            Part("image/*", "photographs", elsewhere=("tagmask.jsonl",)),
            Part("json_refined/*.json", "captions and tags", elsewhere=("tagmask.jsonl",)),
            Part("mask_using_HQ-SAM/*", "regions of the tags", elsewhere=("tagmask.jsonl",), optional=True),
        ),
        totals=(Total("test", None, note="680 images have regions, as the paper counts"),),
        rot="Google Drive only.",
    ),
    "SVOProbes": Layout(
        title="SVO-Probes",
        page="https://github.com/google-deepmind/svo_probes",
        licence="unknown for the list; the photographs belong to their authors",
        size="14 MB and the photographs",
        requires="The list is free to fetch. The photographs are addresses in it, many of them dead: fetch what is left as images/<image id>.jpg.",
        root="data/svo_probes",
        parts=(
            Part(
                "svo_probes.csv",
                "36,841 rows",
                1,
                "https://storage.googleapis.com/dm-mmt-models/svo_probes.csv",
            ),
            Part("images/*", "photographs"),
        ),
        totals=(Total("test", None, 36_841, note="rows listed; papers were left with about 30,000"),),
        rot="The photographs' hosts.",
    ),
    "FoilCOCO": Layout(
        title="FOIL-COCO",
        page="https://foilunitn.github.io",
        licence=f"none stated for its captions; {COCO_LICENCE}",
        size="6.6 GB with COCO's val2014",
        requires="Fetch foilv1.0_test_2017.json by hand from the page above; the photographs are COCO's val2014, free to fetch.",
        root="data/foil_coco",
        options={"images": "data/coco/val2014"},
        parts=(Part("foilv1.0_test_2017.json", "captions and foils", 1), VAL_2014),
        totals=(Total("test", None, None, note="198,960 captions, about 99,000 pairs"),),
    ),
    "NUSWide": Layout(
        title="NUS-WIDE, 81 concepts",
        page="https://lms.comp.nus.edu.sg/wp-content/uploads/2019/research/nuswide/NUS-WIDE.html, https://github.com/NExTplusplus/NUS-WIDE",
        licence="the photographs belong to their authors; the publisher's agreement",
        size="unknown",
        requires="Labels and lists are on the pages above. The photographs are given on request: send the signed agreement to the authors.",
        root="data/nus_wide",
        parts=(
            Part("ImageList/TestImagelist.txt", "list of test images", 1),
            Part("Groundtruth/TrainTestLabels/Labels_*_Test.txt", "labels", 81),
            Part("Flickr/*/*.jpg", "photographs", 269_648, decays=True),
        ),
        totals=(Total("test", 107_859, note="161,789 are for training"),),
        rot="Many of the photographs' Flickr addresses are dead.",
    ),
    "COCORetrieval": Layout(
        title="COCO retrieval (Karpathy's split)",
        page="https://cs.stanford.edu/people/karpathy/deepimagesent/",
        licence=COCO_LICENCE,
        size="20 GB",
        requires="Nothing: the archives are free to fetch.",
        root="data/coco",
        parts=(
            DATASET_COCO,
            replace(VAL_2014, given=("images", "val2014/*.jpg")),
            replace(TRAIN_2014, given=("images", "train2014/*.jpg")),
        ),
        totals=(
            Total("train", 113_287),
            Total("val", 5_000),
            Total("test", 5_000, note="also judged in 5 folds of 1,000 (fold)"),
        ),
    ),
    "Flickr30kRetrieval": Layout(
        title="Flickr30k retrieval (Karpathy's split)",
        page="https://cs.stanford.edu/people/karpathy/deepimagesent/",
        licence=FLICKR_LICENCE,
        size="about 4.5 GB",
        requires=f"The split is free to fetch. {FLICKR_REQUEST}",
        root="data/flickr30k_entities",
        parts=(
            Part("dataset_flickr30k.json", "captions and splits", 1, KARPATHY, unpack="."),
            replace(FLICKR_IMAGES, elsewhere=()),
        ),
        totals=(Total("train", 29_000), Total("val", 1_014), Total("test", 1_000)),
    ),
    "VQA": Layout(
        title="VQA v2",
        page="https://visualqa.org/download.html",
        licence="the publisher's terms of use; " + COCO_LICENCE,
        size="7 GB with COCO's val2014",
        requires="Nothing: the archives are free to fetch; the terms are on the page.",
        root="data/vqa",
        options={"images": "data/coco/val2014"},
        parts=(
            Part(
                "v2_OpenEnded_mscoco_val2014_questions.json",
                "questions",
                1,
                "https://s3.amazonaws.com/cvmlp/vqa/mscoco/vqa/v2_Questions_Val_mscoco.zip",
                unpack=".",
            ),
            Part(
                "v2_mscoco_val2014_annotations.json",
                "answers",
                1,
                "https://s3.amazonaws.com/cvmlp/vqa/mscoco/vqa/v2_Annotations_Val_mscoco.zip",
                unpack=".",
            ),
            VAL_2014,
        ),
        totals=(
            Total("val", 40_504, 214_354),
            Total("test", 40_504, 214_354, note="the same: answers of its test images are not public"),
        ),
        rot="The publisher moved its files once; older addresses are dead.",
    ),
}
