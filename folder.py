"""Your own images: one folder per class, or train/, [val/,] test/ with one folder per class in each.

Without test/ a fifth of every class is held out. Images may lie at any depth below their class folder.

    python folder.py --data_dir my_images
"""

from common import Augment, Dataset, Holdout, class_folders, main

DATASET = Dataset(
    name="folder",
    title="Your folder",
    domain="your own",
    load=class_folders,
    split=Holdout(test=0.2),
    classes=None,
    counts=None,
    image_size=(224, 224),
    augment=Augment(crop=0.5, flip=True),
    get="point --data_dir at a folder with one folder of images per class",
)

if __name__ == "__main__":
    main(DATASET)
