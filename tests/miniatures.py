"""Miniatures of the official layouts, really written: a builder per dataset, from an empty folder to what a user unpacks.

A picture's colour tells its label (six colours in turn), so that a reader that mixes labels up is found out.
"""

import csv
import io
import json
import pickle
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
from PIL import Image

from common.spec import Samples

COLOURS = np.array([(200, 30, 30), (30, 200, 30), (30, 30, 200), (200, 200, 30), (30, 200, 200), (200, 30, 200)])


def picture(seed: int, size: tuple[int, int] = (40, 32), hue: int = 0) -> Image.Image:
    """A noisy (width, height) picture of one of six colours: something that a few steps can learn."""
    noise = np.random.default_rng(seed).integers(-30, 30, (size[1], size[0], 3))
    return Image.fromarray((COLOURS[hue % 6] + noise).clip(0, 255).astype(np.uint8))


def hue(image: Image.Image | np.ndarray) -> int:
    """Which of the six colours a picture has."""
    mean = np.asarray(image)[..., :3].mean((0, 1))
    return int(np.abs(COLOURS - mean).sum(1).argmin())


def save(path: Path, seed: int, label: int, **options: object) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    picture(seed, hue=label).save(path, **options)


def text(path: Path, lines: Sequence[str]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(f"{line}\n" for line in lines), "utf-8")


def class_folders(folder: Path, classes: Sequence[str], n: int, suffix: str = ".jpg") -> None:
    for label, name in enumerate(classes):
        for i in range(n):
            save(folder / name / f"{name}{i:02d}{suffix}", 100 * label + i, label)


def cifar100(root: Path) -> None:
    names = [f"thing {i:03d}" for i in range(12)]
    folder = root / "cifar-100-python"
    folder.mkdir(parents=True)
    for part, n in (("train", 36), ("test", 24)):
        labels = [i % 12 for i in range(n)]
        planes = [np.asarray(picture(i, (32, 32), y)).transpose(2, 0, 1) for i, y in enumerate(labels)]
        content = {
            "data": np.stack(planes).reshape(n, 3072),
            "fine_labels": labels,
            "coarse_labels": [y // 5 for y in labels],
        }
        (folder / part).write_bytes(pickle.dumps(content, protocol=2))
    (folder / "meta").write_bytes(pickle.dumps({"fine_label_names": names, "coarse_label_names": []}, protocol=2))


def tinyimagenet(root: Path) -> None:
    """`wnids.txt` out of order, a grey picture, boxes beside `images/`, an unlabelled `test/`."""
    folder, wnids = root / "tiny-imagenet-200", ["n03", "n01", "n02"]
    text(folder / "wnids.txt", wnids)
    text(folder / "words.txt", ["n00\tother", "n01\tgoldfish, Carassius auratus", "n02\tcrane", "n03\tcrane, derrick"])
    rows = []
    for label, wnid in enumerate(sorted(wnids)):
        for i in range(4):
            save(folder / "train" / wnid / "images" / f"{wnid}_{i}.JPEG", 10 * label + i, label)
        text(folder / "train" / wnid / f"{wnid}_boxes.txt", [f"{wnid}_0.JPEG\t0\t0\t9\t9"])
        for i in range(3):
            rows.append(f"val_{3 * i + label}.JPEG\t{wnid}\t0\t0\t9\t9")
            save(folder / "val" / "images" / f"val_{3 * i + label}.JPEG", 99 + 10 * label + i, label)
    text(folder / "val" / "val_annotations.txt", rows)
    save(folder / "test" / "images" / "test_0.JPEG", 0, 0)


def stanford_dogs(root: Path) -> None:
    from scipy.io import savemat

    breeds = ["n01-Chihuahua", "n02-Japanese_spaniel", "n03-toy_poodle"]
    lists: dict[str, list[tuple[str, int]]] = {"train": [], "test": []}
    for label, breed in enumerate(breeds):
        for i in range(7):
            name = f"{breed}/{breed[:3]}_{i}.jpg"
            save(root / "Images" / name, 10 * label + i, label)
            lists["train" if i < 4 else "test"].append((name, label + 1))
    for part, rows in lists.items():
        files = np.array([[name] for name, _ in rows], object)
        savemat(root / f"{part}_list.mat", {"file_list": files, "labels": np.array([[y] for _, y in rows])})


def cub200(root: Path) -> None:
    """Ids that are not in the order of the classes."""
    folder = root / "CUB_200_2011"
    classes = ["001.Black_footed_Albatross", "002.Laysan_Albatross", "003.Sooty_Albatross"]
    text(folder / "classes.txt", [f"{c + 1} {name}" for c, name in enumerate(classes)])
    images, labels, parts = [], [], []
    for i in range(21):
        label = i % 3
        name = f"{classes[label]}/bird_{i:04d}.jpg"
        save(folder / "images" / name, i, label)
        images.append(f"{i + 1} {name}")
        labels.append(f"{i + 1} {label + 1}")
        parts.append(f"{i + 1} {int(i < 12)}")
    text(folder / "images.txt", images)
    text(folder / "image_class_labels.txt", labels)
    text(folder / "train_test_split.txt", parts)


def stanford_cars(root: Path) -> None:
    from scipy.io import savemat

    folder = root / "stanford_cars"
    (folder / "devkit").mkdir(parents=True)
    names = np.array([["AM General Hummer SUV 2000", "Ram C/V Cargo Van Minivan 2012", "smart fortwo 2012"]], object)
    savemat(folder / "devkit" / "cars_meta.mat", {"class_names": names})
    kind = [("bbox_x1", object), ("class", object), ("fname", object)]
    for part, n, file in (("train", 12, "devkit/cars_train_annos.mat"), ("test", 9, "cars_test_annos_withlabels.mat")):
        rows = np.zeros((1, n), kind)
        for i in range(n):
            rows[0, i] = (3, i % 3 + 1, f"{i + 1:05d}.jpg")
            save(folder / f"cars_{part}" / f"{i + 1:05d}.jpg", i, i % 3)
        savemat(folder / file, {"annotations": rows})


def stanford_cars_folders(root: Path) -> None:
    """The other layout of the same."""
    for part, n in (("train", 4), ("test", 3)):
        class_folders(root / part, ("AM General Hummer SUV 2000", "Ram C-V Cargo Van Minivan 2012"), n)


def food101(root: Path) -> None:
    folder, dishes = root / "food-101", ("apple_pie", "baby_back_ribs", "waffles")
    lists: dict[str, dict[str, list[str]]] = {"train": {}, "test": {}}
    for label, dish in enumerate(dishes):
        for i in range(7):
            name = f"{dish}/{1000 * label + i}"
            save(folder / "images" / f"{name}.jpg", 10 * label + i, label)
            lists["train" if i < 4 else "test"].setdefault(dish, []).append(name)
    (folder / "meta").mkdir()
    for part, content in lists.items():
        (folder / "meta" / f"{part}.json").write_text(json.dumps(content))


def dtd(root: Path) -> None:
    """Two folds that exchange train and test."""
    folder = root / "dtd"
    lists: dict[str, list[str]] = {"train": [], "val": [], "test": []}
    for label, name in enumerate(("banded", "blotchy", "zigzagged")):
        for i in range(9):
            save(folder / "images" / name / f"{name}_{i:04d}.jpg", 10 * label + i, label)
            lists[("train", "val", "test")[i % 3]].append(f"{name}/{name}_{i:04d}.jpg")
    for fold, parts in ((1, ("train", "val", "test")), (2, ("test", "val", "train"))):
        for part, source in zip(("train", "val", "test"), parts, strict=True):
            text(folder / "labels" / f"{part}{fold}.txt", lists[source])


def ucmerced(root: Path) -> None:
    import ucmerced as sheet

    class_folders(root / "UCMerced_LandUse" / "Images", sheet.CLASSES, 5, ".tif")


def plantvillage(root: Path) -> None:
    """The Mendeley edition: files counted anew in every class, odd suffixes, one RGBA picture."""
    folder = root / "Plant_leave_diseases_dataset_without_augmentation"
    for label, name in enumerate(("Apple___healthy", "Background_without_leaves", "Tomato___Late_blight")):
        for i, suffix in enumerate((".JPG", ".JPG", ".jpg", ".jpeg", ".png", ".JPG")):
            save(folder / name / f"image ({i + 1}){suffix}", 10 * label + i, label)
    picture(5, hue=2).convert("RGBA").save(folder / "Tomato___Late_blight" / "image (5).png")


def plantvillage_leaves(root: Path) -> None:
    """The edition with the original names: three pictures per leaf, one identifier in two classes, a copy."""
    leaves: dict[str, list[str]] = {}
    for label, name in enumerate(("Apple___healthy", "Blueberry___healthy")):
        for i in range(12):
            save(root / "raw" / "color" / name / f"0a5e-{label}{i}___RS_HL {i:04d}.JPG", 20 * label + i, label)
            leaves.setdefault(f"rs_hl {i:04d}", []).append(f"{name}:::{i // 3}.0")
    for copy in ("", " copy", " copy 2"):
        save(root / "raw" / "color" / "Apple___healthy" / f"ffff___NoLeaf 1{copy}.JPG", 77, 0)
    (root / "leaf_grouping").mkdir()
    (root / "leaf_grouping" / "leaf-map.json").write_text(json.dumps(leaves))


def plantclef(root: Path) -> None:
    import plantclef as sheet

    folder = root / "PlantCLEF_Subset"
    class_folders(folder / "train", sheet.CLASSES, 3)
    class_folders(folder / "val", sheet.CLASSES, 1)
    save(folder / "test" / "cat.jpg", 0, 0)
    text(folder / "labels.txt", sheet.CLASSES)


def galaxy10(root: Path) -> None:
    """Ten of each shape; the first picture of a shape has the position of the last one before."""
    import h5py

    root.mkdir(parents=True, exist_ok=True)
    labels = np.repeat(np.arange(10, dtype=np.uint8), 10)
    ra = np.linspace(0, 359, 100)
    ra[10::10] = ra[9:-1:10]
    with h5py.File(root / "Galaxy10_DECals.h5", "w") as file:
        file["images"] = np.stack([picture(i, (64, 64), int(y)) for i, y in enumerate(labels)])
        file["ans"], file["ra"], file["dec"] = labels, ra, np.full(100, 7.5)


BREAKHIS = {
    "F": "benign/SOB/fibroadenoma",
    "A": "benign/SOB/adenosis",
    "DC": "malignant/SOB/ductal_carcinoma",
    "LC": "malignant/SOB/lobular_carcinoma",
}


def breakhis_names() -> Iterator[tuple[str, str, str]]:
    """(folder, file, numeric patient): five patients of a kind, one with two slides, one with two diagnoses."""
    slides = [("F", "14134"), ("F", "21998CD"), ("F", "21998EF"), ("A", "22549AB"), ("A", "22549G"), ("F", "23060")]
    slides += [("DC", "13412"), ("LC", "13412"), ("DC", "2523"), ("DC", "2773"), ("LC", "12204"), ("LC", "15570")]
    for kind, slide in slides:
        letter = BREAKHIS[kind][0].upper()
        for magnification in (40, 100):
            for i in range(1, 4):
                file = f"SOB_{letter}_{kind}-14-{slide}-{magnification}-{i:03d}.png"
                yield (
                    f"{BREAKHIS[kind]}/SOB_{letter}_{kind}_14-{slide}/{magnification}X",
                    file,
                    f"14-{slide.rstrip('ABCDEFG')}",
                )


def breakhis(root: Path) -> None:
    lines = []
    test = {"14-14134", "14-2523"}
    for i, (folder, file, patient) in enumerate(breakhis_names()):
        label = int(folder.startswith("malignant"))
        save(root / "BreaKHis_v1" / "histology_slides" / "breast" / folder / file, i, label)
        lines.append(f"{file}|{file.split('-')[3]}|3|{'test' if patient in test else 'train'}")
    text(root / "BreaKHis_v1" / "README.txt", ["BreaKHis"])
    text(root / "dsfold3.txt", lines)


def dicom(path: Path, grey: np.ndarray, kind: str = "MONOCHROME2", bits: int = 8, jpeg: bool = False) -> None:
    """A DICOM file of grey pixels; RSNA's are JPEG inside."""
    from pydicom.dataset import Dataset, FileMetaDataset
    from pydicom.encaps import encapsulate
    from pydicom.uid import ExplicitVRLittleEndian, JPEGBaseline8Bit, SecondaryCaptureImageStorage, generate_uid

    file = Dataset()
    file.file_meta = FileMetaDataset()
    file.file_meta.TransferSyntaxUID = JPEGBaseline8Bit if jpeg else ExplicitVRLittleEndian
    file.SOPClassUID = file.file_meta.MediaStorageSOPClassUID = SecondaryCaptureImageStorage
    file.SOPInstanceUID = file.file_meta.MediaStorageSOPInstanceUID = generate_uid()
    file.Rows, file.Columns = grey.shape
    file.SamplesPerPixel, file.PhotometricInterpretation, file.PixelRepresentation = 1, kind, 0
    file.BitsAllocated, file.BitsStored, file.HighBit = 8 if bits == 8 else 16, bits, bits - 1
    if jpeg:
        stream = io.BytesIO()
        Image.fromarray(grey).save(stream, "JPEG", quality=95)
        file.PixelData = encapsulate([stream.getvalue()])
        file["PixelData"].is_undefined_length = True
    else:
        file.PixelData = grey.tobytes()
    path.parent.mkdir(parents=True, exist_ok=True)
    file.save_as(path, enforce_file_format=True)


def rsna_pneumonia(root: Path, suffix: str = ".dcm", patients: bool = True) -> None:
    """Thirty images of ten patients; positive ones are bright and have one box, or two."""
    rows, mapping = [], []
    for i in range(30):
        name, positive = f"{i * 7919 % 30:02d}-image", i % 2
        grey = np.random.default_rng(i).integers(0, 60, (48, 48), np.uint8) + np.uint8(150 * positive)
        path = root / "stage_2_train_images" / f"{name}{suffix}"
        if suffix == ".dcm":
            dicom(path, grey, jpeg=True)
        else:
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(grey).save(path)
        box = ("264.0", "152.0", "213.0", "379.0", "1") if positive else ("", "", "", "", "0")
        rows += [(name, *box)] * (1 + (i % 4 == 3))
        mapping.append({"subset_img_id": name, "img_id": f"{i // 3:08d}_{i % 3:03d}.png", "orig_labels": []})
    with open(root / "stage_2_train_labels.csv", "w", newline="") as file:
        csv.writer(file).writerows([("patientId", "x", "y", "width", "height", "Target"), *rows])
    if patients:
        (root / "pneumonia-challenge-dataset-mappings_2018.json").write_text(json.dumps(mapping))


def listed(per_class: dict[str, int], **more) -> Samples:
    """Samples of class folders with so many images each, without files."""
    rows = [(f"{name}/{name}_{i}.jpg", c) for c, (name, n) in enumerate(per_class.items()) for i in range(1, n + 1)]
    names, labels = zip(*rows, strict=True)
    return Samples(images=names, names=names, labels=labels, classes=tuple(per_class), **more)
