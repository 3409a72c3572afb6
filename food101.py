"""Food-101: 101,000 photographs of 101 dishes, official train (750 of each) and test (250 of each).

Bossard et al., Food-101: Mining discriminative components with random forests, ECCV 2014. The longer side is 512
pixels. Train was left noisy on purpose, colours and labels both; test was cleaned by hand. Some files are not plain RGB
JPEGs and are converted. The paper trains at 256 x 256. On Hugging Face (`ethz/food101`) test is called validation.

    python food101.py -model convnext_tiny -bs 64
"""

from common import Augment, Dataset, File, Official, Published, food_json, main

DATASET = Dataset(
    name="food101",
    title="Food-101",
    domain="natural",
    load=food_json,
    split=Official(),
    published=Published(trivial=True, patience=(10, 20)),
    classes=101,
    counts={"train": 75_750, "test": 25_250},
    image_size=(224, 224),
    augment=Augment(crop=0.5, flip=True),
    get="unpack food-101.tar.gz (data.vision.ee.ethz.ch/cvl, 5 GB) so that it holds food-101/",
    sources=(
        File(
            name="food-101.tar.gz",
            mirrors=("http://data.vision.ee.ethz.ch/cvl/food-101.tar.gz",),
            bytes=4_996_278_331,
            digest="sha256:d97d15e438b7f4498f96086a4f7e2fa42a32f2712e87d3295441b2b6314053a4",
        ),
    ),
    licence="images belong to Foodspotting's users; scientific fair use",
    caveats=("Training labels are noisy by design, and so is the validation carved from them; test is clean.",),
    citation="Bossard et al. 2014",
)

if __name__ == "__main__":
    main(DATASET)
