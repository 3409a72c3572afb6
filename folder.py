"""Your own images: class folders, train/, [val/,] test/ with class folders in each, or a table of labels.

Without a test set, a fifth of every class is held out. Images may lie at any depth below their class folder.

    python folder.py --data_dir my_images
    python folder.py --data_dir my_images --labels labels.csv
    python folder.py --data_dir archive.zip
"""

from common import Augment, Dataset, Holdout, image_folder, main

DATASET = Dataset(
    name="folder",
    title="Your folder",
    domain="your own",
    load=image_folder,
    split=Holdout(test=0.2),
    classes=None,
    counts=None,
    image_size=(224, 224),
    augment=Augment(crop=0.5, flip=True, dihedral=None),
    get="point --data_dir at a folder or archive with one folder of images per class, or pass --labels FILE",
)

if __name__ == "__main__":
    main(DATASET)
