"""Oxford Flowers-102: 8,189 photographs of British flowers, 102 kinds, official train, val and test.

Nilsback & Zisserman, Automated flower classification over a large number of classes, ICVGIP 2008. Test is six
times larger than train: ten of each kind are in train and in val, twenty or more in test; some papers swap train
and test. The paper's table lists 2,040 training images (train and val merged), its script uses 1,020; we train on
the 1,020 and select on the official validation set. On Hugging Face: `dpdl-benchmark/oxford_flowers102`, `nelorth/oxford-flowers`.

    python flowers102.py -model convnext_tiny -bs 32
"""

from common import Augment, Dataset, File, Official, Paper, Published, flowers_mat, main, parts_as

# fmt: off
CLASSES = (
    "pink primrose", "hard-leaved pocket orchid", "canterbury bells", "sweet pea", "english marigold",
    "tiger lily", "moon orchid", "bird of paradise", "monkshood", "globe thistle", "snapdragon",
    "colt's foot", "king protea", "spear thistle", "yellow iris", "globe-flower", "purple coneflower",
    "peruvian lily", "balloon flower", "giant white arum lily", "fire lily", "pincushion flower",
    "fritillary", "red ginger", "grape hyacinth", "corn poppy", "prince of wales feathers",
    "stemless gentian", "artichoke", "sweet william", "carnation", "garden phlox", "love in the mist",
    "mexican aster", "alpine sea holly", "ruby-lipped cattleya", "cape flower", "great masterwort",
    "siam tulip", "lenten rose", "barbeton daisy", "daffodil", "sword lily", "poinsettia",
    "bolero deep blue", "wallflower", "marigold", "buttercup", "oxeye daisy", "common dandelion", "petunia",
    "wild pansy", "primula", "sunflower", "pelargonium", "bishop of llandaff", "gaura", "geranium",
    "orange dahlia", "pink-yellow dahlia?", "cautleya spicata", "japanese anemone", "black-eyed susan",
    "silverbush", "californian poppy", "osteospermum", "spring crocus", "bearded iris", "windflower",
    "tree poppy", "gazania", "azalea", "water lily", "rose", "thorn apple", "morning glory",
    "passion flower", "lotus", "toad lily", "anthurium", "frangipani", "clematis", "hibiscus", "columbine",
    "desert-rose", "tree mallow", "magnolia", "cyclamen", "watercress", "canna lily", "hippeastrum",
    "bee balm", "ball moss", "foxglove", "bougainvillea", "camellia", "mallow", "mexican petunia",
    "bromelia", "blanket flower", "trumpet creeper", "blackberry lily",
)
# fmt: on

OXFORD = "https://www.robots.ox.ac.uk/~vgg/data/flowers/102/"
FILES = (
    ("102flowers.tgz", 344_862_509, "2d01ecc807db462958cfe3d92f57a8c252b4abd240eb955770201e45f783b246"),
    ("imagelabels.mat", 502, "4903e94206bac23bf772aadf06451916df56b58fc483a62db32a97b82656651d"),
    ("setid.mat", 14_989, "46b8678f91fd95d3c8f4feab80d271a6c834a1dd896fe29fd3e6ad9ce5c8dccd"),
)

DATASET = Dataset(
    name="flowers102",
    title="Flowers-102",
    domain="natural",
    load=flowers_mat,
    split=Official(),
    paper=Paper(
        note="The paper's table: train and val merged, 2,040 images (its script: train alone, 1,020).",
        load=parts_as(flowers_mat, val="train"),
        counts={"train": 2_040, "test": 6_149},
    ),
    published=Published(trivial=True, patience=(20, 20)),
    classes=CLASSES,
    counts={"train": 1_020, "val": 1_020, "test": 6_149},
    image_size=(224, 224),
    augment=Augment(crop=0.5, flip=True),
    get="put jpg/ (102flowers.tgz), imagelabels.mat and setid.mat (www.robots.ox.ac.uk/~vgg/data/flowers/102) into it",
    sources=tuple(
        File(name=name, mirrors=(OXFORD + name,), bytes=size, digest=f"sha256:{sha256}") for name, size, sha256 in FILES
    ),
    licence="none stated",
    caveats=("Four pairs of images are byte-identical.",),
    citation="Nilsback & Zisserman 2008",
)

if __name__ == "__main__":
    main(DATASET)
