"""The layouts of all data sets by the class that reads them, and of published weights: what ``prepare``
fetches and ``doctor`` looks for.

Counts and checksums are the publishers' or those of widely used loaders; what nobody states is None or empty.
Sets of captions and regions are here, those of labels, pairs and questions in `layouts_labels`, weights in
`layouts_weights`.
"""

from __future__ import annotations

from dataclasses import replace

from datamodules.sets.layouts_labels import (
    COCO_LICENCE,
    COCO_PAGE,
    COCO_ZIPS,
    DATASET_COCO,
    FLICKR_IMAGES,
    FLICKR_LICENCE,
    FLICKR_REQUEST,
    LABELS,
    TRAIN_2014,
    VAL_2014,
    VAL_2017,
    coco_zip,
)
from datamodules.storage.layout import Layout, Part, Total

CAPTIONS_2014 = {
    "url": f"{COCO_ZIPS}/annotations/annotations_trainval2014.zip",
    "checksum": "sha256:031296bbc80c45a1d1f76bf9a90ead27e94e99ec629208449507a4917a3bf009",
    "size": 252_872_794,
    "unpack": ".",
}
CAPTIONS_2017 = {
    "url": f"{COCO_ZIPS}/annotations/annotations_trainval2017.zip",
    "checksum": "sha256:113a836d90195ee1f884e704da6304dfaaecff1f023f49b6ca93c4aaae470268",
    "size": 252_907_541,
    "unpack": ".",
}
PUBLISHED, KARPATHY = {"split": "publisher|akbari"}, {"split": "karpathy"}

COCO_CAPTIONS = Layout(
    title="COCO captions",
    page=COCO_PAGE,
    licence=COCO_LICENCE,
    size="20 GB (either year)",
    requires="Nothing: the archives are free to fetch.",
    root="data/coco",
    options={"year": "2014", "split": "publisher"},
    parts=(
        replace(TRAIN_2014, where={"year": "2014"}, given=None),
        replace(VAL_2014, where={"year": "2014"} | KARPATHY, given=None),
        Part(
            "annotations/captions_train2014.json",
            "captions",
            1,
            where={"year": "2014"} | PUBLISHED,
            **CAPTIONS_2014,
        ),  # type: ignore[arg-type]
        coco_zip(
            "train2017",
            118_287,
            19_336_861_798,
            "69a8bb58ea5f8f99d24875f21416de2e9ded3178e903f1f7603e283b9e06d929",
            {"year": "2017"},
        ),
        replace(VAL_2017, where={"year": "2017"} | KARPATHY),
        Part(
            "annotations/captions_train2017.json",
            "captions",
            1,
            where={"year": "2017"} | PUBLISHED,
            **CAPTIONS_2017,
        ),  # type: ignore[arg-type]
        replace(DATASET_COCO, where=KARPATHY, elsewhere=("annotations/dataset_coco.json",)),
    ),
    totals=(
        Total("train", 82_783, where={"year": "2014"} | PUBLISHED),
        Total("train", 118_287, where={"year": "2017", "split": "publisher"}),
        Total(
            "train",
            113_287,
            where={"split": "karpathy"},
            note="train2014, and val2014 but for 5,000 val and 5,000 test images",
        ),
    ),
    rot="None known. 2014 and 2017 are the same images and captions, split differently.",
)

FLICKR30K_ENTITIES = Layout(
    title="Flickr30k Entities",
    page="https://github.com/BryanPlummer/flickr30k_entities",
    licence=FLICKR_LICENCE,
    size="about 4.5 GB",
    requires=f"{FLICKR_REQUEST} annotations.zip (Annotations/, Sentences/) and the split lists are in the repository above.",
    root="data/flickr30k_entities",
    parts=(
        replace(FLICKR_IMAGES, given=None),
        Part("Annotations/*.xml", "boxes", 31_783, elsewhere=("flickr30k_entities/Annotations/*.xml",)),
        Part(
            "Sentences/*.txt",
            "captions with phrases",
            31_783,
            elsewhere=("flickr30k_entities/Sentences/*.txt",),
        ),
        *(
            Part(f"{split}.txt", f"ids of {split}", 1, elsewhere=(f"flickr30k_entities/{split}.txt",))
            for split in ("train", "val", "test")
        ),
    ),
    totals=(
        Total("train", 29_783),
        Total("val", 1_000),
        Total(
            "test",
            1_000,
            14_481,
            note="boxed mentions, as widely quoted (17,519 with the unboxed); not confirmed here",
        ),
    ),
    rot="Mirrors of the photographs come and go; the form is the lasting way.",
)

VISUAL_GENOME_IMAGES = ("VG_Images/*.jpg", "images/*.jpg", "images/VG_100K/*.jpg")
VISUAL_GENOME = Layout(
    title="Visual Genome",
    page="https://homes.cs.washington.edu/~ranjay/visualgenome/",
    licence="annotations CC BY 4.0; the photographs are Flickr's (YFCC100M, COCO) under their own licences",
    size="about 15 GB",
    requires="The split list is fetched by hand: data_splits.pickle from github.com/hassanhub/MultiGrounding (data/visual_genome/VG_Splits), or for "
    "split=densecap densecap_splits.json from github.com/jcjohnson/densecap (info). All else is free to fetch.",
    root="data/visual_genome",
    options={"split": "akbari"},
    parts=(
        Part(
            "VG_100K/*.jpg",
            "photographs, part 1",
            None,
            "https://cs.stanford.edu/people/rak248/VG_100K_2/images.zip",
            unpack=".",
            elsewhere=VISUAL_GENOME_IMAGES,
        ),
        Part(
            "VG_100K_2/*.jpg",
            "photographs, part 2",
            None,
            "https://cs.stanford.edu/people/rak248/VG_100K_2/images2.zip",
            unpack=".",
            elsewhere=(*VISUAL_GENOME_IMAGES, "images/VG_100K_2/*.jpg"),
        ),
        *(
            Part(
                f"{name}.json",
                what,
                1,
                f"https://homes.cs.washington.edu/~ranjay/visualgenome/data/dataset/{name}.json.zip",
                unpack=".",
                elsewhere=(
                    f"annotations/{name}.json",
                    f"VG_Annotations/{name}.json",
                    f"VG_Splits/{name}.json",
                ),
                optional=optional,
            )
            for name, what, optional in (
                ("region_descriptions", "phrases with boxes", False),
                ("image_data", "sizes of the photographs", True),
            )
        ),
        *(
            Part(
                name,
                "split list",
                1,
                where={"split": split},
                elsewhere=(f"annotations/{name}", f"VG_Annotations/{name}", f"VG_Splits/{name}"),
            )
            for split, name in (("akbari", "data_splits.pickle"), ("densecap", "densecap_splits.json"))
        ),
    ),
    totals=(
        Total(
            "train",
            90_599,
            where={"split": "akbari"},
            note="as the reference codes of MultiGrounding and WWbL split",
        ),
        Total("test", 17_478, where={"split": "akbari"}, note="the images that are in COCO's val2014, too"),
        Total("train", 77_398, where={"split": "densecap"}, note="as the papers quote"),
        Total("val", 5_000, where={"split": "densecap"}),
        Total("test", 5_000, where={"split": "densecap"}),
    ),
    rot="visualgenome.org, which many scripts name, is not reliable. In all: 108,077 images, 5,408,689 regions.",
)

UNC_ROT = (
    "The server (bvisionweb1.cs.unc.edu) has been down since 2022; web.archive.org keeps copies: "
    "https://web.archive.org/web/2022/https://bvisionweb1.cs.unc.edu/licheng/referit/data/{}."
)
SAIAPR = "saiapr_tc-12/*/images/*.jpg"
REFERIT = Layout(
    title="ReferIt (RefCLEF, on SAIAPR TC-12)",
    page="https://github.com/lichengunc/refer",
    licence="unknown for the annotations and their photographs",
    size="unknown",
    requires="Fetch refclef.zip and images/saiapr_tc-12.zip by hand (see the addresses); for split_by=multigrounding the lists of images are in "
    "github.com/hassanhub/MultiGrounding, too.",
    root="data/referit",
    options={"split_by": "multigrounding"},
    parts=(
        Part(
            "refclef/instances.json",
            "boxes and masks",
            1,
            elsewhere=("ReferIt_Splits/instances.json", "instances.json"),
        ),
        Part(
            "refclef/refs(unc).p",
            "expressions",
            1,
            where={"split_by": "multigrounding|unc"},
            elsewhere=("ReferIt_Splits/refs(unc).p", "refs(unc).p"),
        ),
        Part(
            "refclef/refs(berkeley).p",
            "expressions",
            1,
            where={"split_by": "berkeley"},
            elsewhere=("ReferIt_Splits/refs(berkeley).p", "refs(berkeley).p"),
        ),
        Part(
            SAIAPR,
            "photographs",
            19_997,
            given=("images", "*/images/*.jpg"),
            elsewhere=(f"images/{SAIAPR}", "ReferIt_Images/*/images/*.jpg"),
        ),
        *(
            Part(
                name,
                "list of images",
                1,
                where={"split_by": "multigrounding"},
                elsewhere=(f"refclef/{name}", f"ReferIt_Splits/{name}"),
            )
            for name in (f"referit_{split}_imlist.txt" for split in ("train", "val", "test"))
        ),
    ),
    totals=(
        Total("train", 9_000, where={"split_by": "multigrounding"}, note="listed"),
        Total("val", 1_000, where={"split_by": "multigrounding"}, note="listed"),
        Total(
            "test",
            9_983,
            where={"split_by": "multigrounding"},
            note="of 10,000 listed, those with expressions",
        ),
    ),
    rot=UNC_ROT.format("refclef.zip"),
)


def _refcoco(
    title: str, name: str, splits: dict[str, tuple[tuple[str, int, int], ...]], default: str = "unc"
) -> Layout:
    """RefCOCO and its kin: ``splits`` are (split, images, expressions) by who split them."""
    chosen = {"split_by": default} if len(splits) > 1 or name != "refcoco+" else {}
    return Layout(
        title=title,
        page="https://github.com/lichengunc/refer",
        licence=f"annotations: the repository is under Apache-2.0; {COCO_LICENCE}",
        size="14 GB with COCO's train2014",
        requires=f"Fetch {name}.zip by hand (see the addresses). The photographs are COCO's train2014, which are free to fetch.",
        root="data/refcoco",
        options=chosen,
        parts=(
            Part(f"{name}/instances.json", "boxes and masks", 1, elsewhere=("instances.json",)),
            *(
                Part(
                    f"{name}/refs({by}).p",
                    "expressions",
                    1,
                    where={"split_by": by} if chosen else {},
                    elsewhere=(f"refs({by}).p",),
                )
                for by in splits
            ),
            replace(
                TRAIN_2014,
                elsewhere=(
                    "images/mscoco/images/train2014/*.jpg",
                    "images/train2014/*.jpg",
                    "../coco/train2014/*.jpg",
                ),
            ),
        ),
        totals=tuple(
            Total(split, images, queries, {"split_by": by} if chosen else {})
            for by, counts in splits.items()
            for split, images, queries in counts
        ),
        rot=UNC_ROT.format(f"{name}.zip"),
    )


REFCOCO = _refcoco(
    "RefCOCO",
    "refcoco",
    {
        "unc": (
            ("train", 16_994, 120_624),
            ("val", 1_500, 10_834),
            ("testA", 750, 5_657),
            ("testB", 750, 5_095),
        ),
        "google": (),
    },
)
REFCOCO_PLUS = _refcoco(
    "RefCOCO+",
    "refcoco+",
    {
        "unc": (
            ("train", 16_992, 120_191),
            ("val", 1_500, 10_758),
            ("testA", 750, 5_726),
            ("testB", 750, 4_889),
        )
    },
)
REFCOCOG = _refcoco(
    "RefCOCOg",
    "refcocog",
    {
        "umd": (("train", 21_899, 80_512), ("val", 1_300, 4_896), ("test", 2_600, 9_602)),
        "google": (("train", 24_698, 85_474), ("val", 4_650, 9_536)),
    },
    "umd",
)

CONCEPTUAL_CAPTIONS = Layout(
    title="Conceptual Captions (GCC3M, CC12M)",
    page="https://ai.google.com/research/ConceptualCaptions, https://github.com/google-research-datasets/conceptual-12m",
    licence="the lists may be used freely, with Google named as their source; the photographs belong to their authors",
    size="unknown",
    requires="Shards of the mirrors (`hf download pixparse/cc3m-wds --repo-type dataset --local-dir data/gcc3m`; cc12m-wds for subset=cc12m), "
    "or img2dataset on the published list.",
    root="data/{subset}",
    options={"subset": "gcc3m"},
    parts=(
        Part(
            "cc3m-train-*.tar",
            "shards, or the list",
            576,
            where={"subset": "gcc3m"},
            elsewhere=("train/cc3m-train-*.tar", "[0-9]*.tar", "train/[0-9]*.tar", "Train*GCC-training.tsv"),
            decays=True,
        ),
        Part(
            "cc12m-train-*.tar",
            "shards, or the list",
            2_176,
            where={"subset": "cc12m"},
            elsewhere=("train/cc12m-train-*.tar", "[0-9]*.tar", "train/[0-9]*.tar", "cc12m.tsv"),
            decays=True,
        ),
    ),
    totals=(
        Total(
            "train",
            2_905_954,
            where={"subset": "gcc3m"},
            note="in the mirror's 576 shards; 3,318,333 are listed",
        ),
        Total(
            "train",
            10_968_539,
            where={"subset": "cc12m"},
            note="in the mirror's 2,176 shards; 12,423,374 are listed",
        ),
    ),
    rot="Links die: users could fetch 70 % of CC3M, and of CC12M 24 to 64 %. Give the shards and the sample count with every result.",
)

MULTI_MNIST = Layout(
    title="MNIST, from which multi-MNIST is drawn",
    page="http://yann.lecun.com/exdb/mnist/",
    licence="unknown",
    size="12 MB",
    requires="Nothing: the files are free to fetch.",
    root="data/mnist",
    parts=tuple(
        Part(
            f"{name}.gz",
            what,
            1,
            f"https://storage.googleapis.com/cvdf-datasets/mnist/{name}.gz",
            f"sha256:{checksum}",
            size,
            elsewhere=(name, f"MNIST/raw/{name}", f"MNIST/raw/{name}.gz", f"raw/{name}", f"raw/{name}.gz"),
        )
        for name, what, size, checksum in (
            (
                "train-images-idx3-ubyte",
                "60,000 digits",
                9_912_422,
                "440fcabf73cc546fa21475e81ea370265605f56be210a4024d2ca8f203523609",
            ),
            (
                "train-labels-idx1-ubyte",
                "their labels",
                28_881,
                "3552534a0a558bbed6aed32b30c495cca23d567ec52cac8be1a0730e8010255c",
            ),
            (
                "t10k-images-idx3-ubyte",
                "10,000 digits",
                1_648_877,
                "8d422c7b0a1c1c79245a5bcf07fe86e33eeafee792b84584aec276f5a2dbc4e6",
            ),
            (
                "t10k-labels-idx1-ubyte",
                "their labels",
                4_542,
                "f7ae60f92e00ec6debd23a6088c31dbd2371eca3ffa0defaefb259924204aec6",
            ),
        )
    ),
    totals=(Total("train", 500_000, note="pictures drawn, as in the paper"),),
    rot="The publisher's own page often refuses; a mirror is used.",
    without="the digits that scikit-learn brings along",
)

LAYOUTS: dict[str, Layout] = {
    "COCOCaptions": COCO_CAPTIONS,
    "ConceptualCaptions": CONCEPTUAL_CAPTIONS,
    "Flickr30kEntities": FLICKR30K_ENTITIES,
    "Flickr30kSpans": Layout(
        title="Flickr30k spans: the phrases of Flickr30k Entities, without photographs",
        page=FLICKR30K_ENTITIES.page,
        licence=FLICKR_LICENCE,
        size="unknown, but small",
        requires="annotations.zip and the split lists of the repository above.",
        root="data/flickr30k_entities",
        parts=(FLICKR30K_ENTITIES.parts[2], *FLICKR30K_ENTITIES.parts[4:]),
        totals=(
            Total("val", None, 5_000, note="captions of 1,000 images"),
            Total("test", None, 5_000, note="captions of 1,000 images"),
        ),
    ),
    "MultiMNIST": MULTI_MNIST,
    "RefCOCO": REFCOCO,
    "RefCOCOPairs": replace(
        REFCOCO_PLUS, title="pairs of objects of RefCOCO+ (HIST, section 4.2)", totals=()
    ),
    "RefCOCOPlus": REFCOCO_PLUS,
    "RefCOCOg": REFCOCOG,
    "ReferIt": REFERIT,
    "VisualGenome": VISUAL_GENOME,
    **LABELS,
}
