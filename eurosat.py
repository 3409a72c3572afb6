"""EuroSAT (RGB): 27,000 Sentinel-2 tiles of 64 x 64 pixels, ten kinds of land use, no official split.

Helber et al., EuroSAT: A novel dataset and deep learning benchmark for land use and land cover classification,
IEEE JSTARS 2019, arXiv 1709.00029. The paper upsamples to 224 x 224 (`--image_size 224`); we keep the tiles' own
64 x 64, which reaches more than 98 % at a twelfth of the cost.

    python eurosat.py -model convnext_tiny -bs 32
"""

from common import Augment, Dataset, File, Holdout, class_folders, main

DATASET = Dataset(
    name="eurosat",
    title="EuroSAT",
    domain="remote sensing",
    load=class_folders,
    split=Holdout(test=0.3),
    classes=tuple(
        "AnnualCrop Forest HerbaceousVegetation Highway Industrial Pasture PermanentCrop Residential River SeaLake".split()
    ),
    counts={"train": 18_900, "test": 8_100},
    image_size=(64, 64),
    native=(64, 64),
    augment=Augment(crop=0.7, dihedral=True),
    get="unpack EuroSAT_RGB.zip (zenodo.org/records/7711810) so that it holds the ten class folders, at any depth",
    sources=(
        File(
            name="EuroSAT.zip",
            mirrors=(
                "https://huggingface.co/datasets/torchgeo/eurosat/resolve/c877bcd43f099cd0196738f714544e355477f3fd/EuroSAT.zip",
                "http://madm.dfki.de/files/sentinel/EuroSAT.zip",
            ),
            bytes=94_280_567,
            digest="sha256:8ebea626349354c5328b142b96d0430e647051f26efc2dc974c843f25ecf70bd",
        ),
    ),
    licence="MIT; Copernicus Sentinel-2 data",
    caveats=("A random split puts neighbouring tiles on both sides: expect lower accuracy in new regions.",),
    citation="arXiv 1709.00029",
)

if __name__ == "__main__":
    main(DATASET)
