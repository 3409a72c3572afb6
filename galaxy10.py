"""Galaxy10 DECaLS: 17,736 galaxies of 256 x 256 pixels, ten shapes as labelled by volunteers of Galaxy Zoo.

Leung & Bovy, astroNN; images of the DESI Legacy Surveys. This is not Galaxy10 SDSS (Galaxy10.h5, 69 x 69). The
file was re-released on Zenodo: use that one. A dictionary in astroNN names class 3 cigar-shaped; it is in-between
round. Copies on Hugging Face: `matthieulel/galaxy10_decals`, split into about 16,000 and 1,770, and
`mwalmsley/galaxy10_decals`.

The paper holds out a tenth, 1,774 galaxies, redrawn in every run and regardless of class. We draw a tenth of
every class, rounded up: 1,779. 59 pairs of images have exactly the same position, so they show the same galaxy,
and, by the order of the file, have two different labels; they stay together, so a run's counts may differ by a
few. 126 pairs (249 images) are within 10 arc seconds of each other, 180 (351) within 30; these are not grouped.
`redshift` is not used (in the published list of positions it is a copy of the declination).

    python galaxy10.py -model convnext_tiny -bs 32
"""

from common import Augment, Dataset, File, Holdout, Paper, Published, galaxy10_hdf5, main

DATASET = Dataset(
    name="galaxy10",
    title="Galaxy10 DECaLS",
    domain="astronomy",
    load=galaxy10_hdf5,
    split=Holdout(test=0.1),
    paper=Paper(
        note="As in the paper, a tenth of all images, regardless of class and position; the paper redraws it in every run.",
        split=Holdout(test=0.1, stratify=False, groups=False),
        counts={"train": 15_962, "test": 1_774},
    ),
    published=Published(lr=1e-4, patience=(10, 20)),
    classes=(
        "disturbed",  # 1,081 galaxies
        "merging",  # 1,853
        "round smooth",  # 2,645
        "in-between round smooth",  # 2,027
        "cigar-shaped smooth",  # 334
        "barred spiral",  # 2,043
        "unbarred tight spiral",  # 1,829
        "unbarred loose spiral",  # 2,628
        "edge-on without bulge",  # 1,423
        "edge-on with bulge",  # 1,873
    ),
    counts={"train": 15_957, "test": 1_779},
    image_size=(224, 224),
    native=(256, 256),
    augment=Augment(crop=0.7, dihedral=True),
    get="put Galaxy10_DECals.h5 (zenodo.org/records/10845026, 2.5 GB) into it",
    sources=(
        File(
            name="Galaxy10_DECals.h5",
            mirrors=(
                "https://zenodo.org/records/10845026/files/Galaxy10_DECals.h5",
                "https://www.astro.utoronto.ca/~hleung/shared/Galaxy10/Galaxy10_DECals.h5",
            ),
            digest="sha256:19aefc477c41bb7f77ff07599a6b82a038dc042f889a111b0d4d98bb755c1571",
        ),
    ),
    licence="acknowledge Galaxy Zoo and the Legacy Surveys",
    caveats=(
        "59 galaxies occur twice, apparently with two labels; 249 images have another within 10 arc seconds.",
        "Unbalanced: 334 cigar-shaped galaxies, 2,645 round ones.",
    ),
    citation="Leung & Bovy, astroNN",
)

if __name__ == "__main__":
    main(DATASET)
