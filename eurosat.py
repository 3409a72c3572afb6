"""EuroSAT (RGB): 27,000 Sentinel-2 tiles of 64 x 64 pixels, ten kinds of land use, no official split.

Helber et al., EuroSAT: A novel dataset and deep learning benchmark for land use and land cover classification,
IEEE JSTARS 2019, arXiv 1709.00029. The paper upsamples to 224 x 224 (`--image_size 224`); we keep the native
64 x 64, which reaches more than 98 % at a twelfth of the cost.

3,000 tiles of each kind, except 2,500 of Highway, Industrial, PermanentCrop and River, and 2,000 of Pasture. The
13-band version (EuroSATallBands.zip) is not supported. `timm/eurosat-rgb` on Hugging Face has its own train,
validation and test; torchvision has no split, torchgeo has two. Rewritten as path,label,part, with .jpg in the names,
their lists work with `--split_file`:

    eurosat-{train,val,test}.txt of arXiv 1911.06721     md5 908f142e, 95de90f2, 7ae5ab94
    EuroSATSpatial, 60/20/20 by longitude                md5 7be3254b, acf39229, 5ec1733f: a check on leakage

    python eurosat.py -model convnext_tiny -bs 32
"""

from common import Augment, Dataset, File, Holdout, Published, class_folders, main

DATASET = Dataset(
    name="eurosat",
    title="EuroSAT",
    domain="remote sensing",
    load=class_folders,
    split=Holdout(test=0.3),
    published=Published(image_size=(224, 224)),
    classes=tuple(
        "AnnualCrop Forest HerbaceousVegetation Highway Industrial Pasture PermanentCrop Residential River SeaLake".split()
    ),
    counts={"train": 18_900, "test": 8_100},
    image_size=(64, 64),
    native=(64, 64),
    augment=Augment(crop=0.7, dihedral=True),
    get="unpack EuroSAT.zip (or zenodo.org/records/7711810) so that it holds the ten class folders, at any depth",
    sources=(
        # Zenodo's EuroSAT_RGB.zip (in it 2750/ or EuroSAT_RGB/) is another archive: 94,658,721 bytes,
        # md5 f46e308c4d50d4bf32fedad2d3d62f3b,
        # sha256 b4f5b234ecb7d7ff9c6cddb046543b4717c53fd6e9815be6c0e80cc614f51b90
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
