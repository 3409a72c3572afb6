"""Images of more than 8 bits or more than three bands: one value range per dataset, never the first bands in silence."""

import struct
import zlib
from dataclasses import replace
from pathlib import Path

import miniatures
import numpy as np
import pytest
import tifffile
from PIL import Image

import folder
from common import main
from common.__main__ import main as command
from common.data.images.cache import content_hash, decode_cached
from common.data.images.decode import decode
from common.data.images.value_range import with_value_range
from common.errors import UserError
from common.spec import Preprocess

PLAIN = Preprocess(size=(40, 48), crop=1.0, interpolation="bilinear", mean=(0, 0, 0), std=(1, 1, 1))
RAMP = np.linspace(0, 1, 40 * 48).reshape(40, 48)


def write_png16(path: Path, values: np.ndarray) -> None:
    """(H, W, channels) uint16, which Pillow cannot write."""
    height, width, channels = values.shape

    def chunk(name: bytes, content: bytes) -> bytes:
        return struct.pack(">I", len(content)) + name + content + struct.pack(">I", zlib.crc32(name + content))

    header = struct.pack(">IIBBBBB", width, height, 16, {1: 0, 2: 4, 3: 2, 4: 6}[channels], 0, 0, 0)
    rows = b"".join(b"\0" + row.astype(">u2").tobytes() for row in values)
    path.write_bytes(
        b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")
    )


def fitted(paths: list[str], **settings) -> Preprocess:
    return with_value_range(replace(PLAIN, **settings), paths, range(len(paths)), cache=False)


def pixels_of(paths: list[str], preprocess: Preprocess) -> np.ndarray:
    pixels, bad = decode(paths, preprocess, None)
    assert not bad
    return pixels


def assert_ramp(pixels: np.ndarray, tolerance: float = 2) -> None:
    assert np.abs(pixels.astype(int) - 255 * RAMP[..., None]).max() <= tolerance


@pytest.mark.parametrize("suffix", [".png", ".tif"])
def test_twelve_bits_become_a_ramp(tmp_path: Path, suffix: str) -> None:
    path = str(tmp_path / f"a{suffix}")
    Image.fromarray((4095 * RAMP).astype(np.uint16)).save(path)
    preprocess = fitted([path])
    assert_ramp(pixels_of([path], preprocess)[0])
    low, high = preprocess.value_range
    assert 0 <= low <= 10 and 4085 <= high <= 4095


def test_a_range_keeps_the_order_of_brightness(tmp_path: Path) -> None:
    paths = [str(tmp_path / f"{name}.png") for name in ("dark", "bright")]
    for path, scale in zip(paths, (500, 4000), strict=True):
        Image.fromarray((scale * RAMP).astype(np.uint16)).save(path)
    dark, bright = pixels_of(paths, fitted(paths))
    assert 28 <= dark.max() <= 34 and bright.max() == 255


def test_hot_pixels_and_a_broken_image_do_not_set_the_range(tmp_path: Path) -> None:
    paths = [str(tmp_path / f"{i}.tif") for i in range(200)]
    for path in paths:
        values = (4000 * RAMP).astype(np.uint16)
        values[7, 7] = 30_000
        Image.fromarray(values).save(path)
    Image.fromarray(np.full((40, 48), 60_000, np.uint16)).save(paths[0])
    assert 3980 <= fitted(paths).value_range[1] <= 4100


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
def test_floats_become_a_ramp(tmp_path: Path, dtype: type) -> None:
    path = str(tmp_path / "a.tif")
    values = RAMP.astype(dtype)
    values[3, 4] = np.nan
    tifffile.imwrite(path, values)
    pixels = pixels_of([path], fitted([path]))[0]
    assert pixels[3, 4].max() == 0
    pixels[3, 4] = round(255 * RAMP[3, 4])
    assert_ramp(pixels)


def test_full_sixteen_bits_keep_their_pixels(tmp_path: Path) -> None:
    grey, rgb = str(tmp_path / "grey.png"), str(tmp_path / "rgb.png")
    values = (65535 * RAMP).astype(np.uint16)
    Image.fromarray(values).save(grey)
    write_png16(tmp_path / "rgb.png", np.stack([values] * 3, 2))
    preprocess = fitted([grey, rgb])
    assert preprocess.value_range == (0, 65535)
    expected = (values / 257).astype(np.uint8)
    for pixels in pixels_of([grey, rgb], preprocess):
        assert (pixels == expected[..., None]).all()
    assert (pixels_of([grey], PLAIN)[0] == expected[..., None]).all(), "as before there were ranges"


@pytest.mark.parametrize("channels", [2, 3, 4])
def test_colour_of_sixteen_bits_has_all_its_bits(tmp_path: Path, channels: int) -> None:
    """Pillow keeps the high bytes only: 12 bits would be almost black."""
    values = np.stack([(4095 * RAMP).astype(np.uint16)] * channels, 2)
    if channels % 2 == 0:
        values[..., -1] = 65535  # opaque
    write_png16(tmp_path / "a.png", values)
    path = str(tmp_path / "a.png")
    assert_ramp(pixels_of([path], fitted([path]))[0])


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"compression": "zlib"},
        {"byteorder": ">"},
        {"compression": "zlib", "byteorder": ">"},
        {"tile": (16, 16)},
        {"planarconfig": "separate"},
    ],
    ids=str,
)
def test_every_kind_of_sixteen_bit_tiff(tmp_path: Path, options: dict) -> None:
    rng = np.random.default_rng(0)
    values = rng.integers(0, 4096, (40, 48, 3)).astype(np.uint16)
    path = str(tmp_path / "a.tif")
    stored = np.moveaxis(values, 2, 0).copy() if "planarconfig" in options else values
    tifffile.imwrite(path, stored, photometric="rgb", **options)
    pixels = pixels_of([path], fitted([path], value_range=(0, 4095)))[0]
    assert np.abs(pixels.astype(int) - values / 4095 * 255).max() <= 1


def test_a_range_of_the_user(tmp_path: Path) -> None:
    path = str(tmp_path / "a.png")
    Image.fromarray((1000 * RAMP).astype(np.uint16)).save(path)
    assert_ramp(2 * pixels_of([path], fitted([path], value_range=(0, 2000)))[0].astype(int), 3)


def test_signed_values_and_dicom_share_a_range(tmp_path: Path) -> None:
    """Hounsfield units: the rescaling of each file applies before the range."""
    stored = (2000 * RAMP).astype(np.uint16)
    for name, intercept, photometric in (("a", -1000, "MONOCHROME2"), ("b", 0, "MONOCHROME1")):
        miniatures.dicom(tmp_path / f"{name}.dcm", stored, photometric, bits=12)
        from pydicom import dcmread

        file = dcmread(tmp_path / f"{name}.dcm")
        file.RescaleSlope, file.RescaleIntercept = 1, intercept
        file.save_as(tmp_path / f"{name}.dcm")
    tifffile.imwrite(tmp_path / "c.tif", (stored.astype(np.int16) - 1000))
    paths = [str(tmp_path / name) for name in ("a.dcm", "b.dcm", "c.tif")]
    plain, inverted, tiff = pixels_of(paths, fitted(paths, value_range=(-1000, 1000))).astype(int)
    assert_ramp(plain)
    assert_ramp(tiff)
    assert inverted[20, 20].max() <= 255 - 127 and inverted[-1, -1].max() == 0 and inverted[0, 0].min() > 120


def test_eight_bits_stay_as_they_are(tmp_path: Path) -> None:
    paths = [str(tmp_path / f"a{suffix}") for suffix in (".png", ".jpg", ".tif")]
    for path in paths:
        miniatures.picture(0).save(path)
    miniatures.dicom(tmp_path / "a.dcm", np.zeros((4, 4), np.uint8))
    paths.append(str(tmp_path / "a.dcm"))
    assert fitted(paths) == PLAIN
    with pytest.raises(UserError, match="--value_range: the images have 8 bits"):
        fitted(paths, value_range=(0, 100))


def test_a_range_is_part_of_the_cache_key(tmp_path: Path) -> None:
    path = str(tmp_path / "a.png")
    Image.fromarray((4095 * RAMP).astype(np.uint16)).save(path)
    ranges = [None, (0.0, 4095.0), (0.0, 2000.0)]
    keys = {content_hash([path], PLAIN.size, replace(PLAIN, value_range=r)) for r in ranges}
    keys.add(content_hash([path], PLAIN.size, replace(PLAIN, bands=(1, 1, 1))))
    assert len(keys) == 4
    for value_range in ranges[1:]:
        preprocess = replace(PLAIN, value_range=value_range)
        pixels, _ = decode_cached([path], preprocess, None)
        assert np.array_equal(pixels, decode([path], preprocess, None)[0])


def test_the_range_is_found_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = str(tmp_path / "a.png")
    Image.fromarray((4095 * RAMP).astype(np.uint16)).save(path)
    first = with_value_range(PLAIN, [path], [0])
    monkeypatch.setattr("common.data.images.value_range._percentiles", None)  # calling it would raise
    assert with_value_range(PLAIN, [path], [0]) == first


def test_integers_mixed_with_floats_are_refused(tmp_path: Path) -> None:
    Image.fromarray((4095 * RAMP).astype(np.uint16)).save(tmp_path / "a.png")
    Image.fromarray(RAMP.astype(np.float32)).save(tmp_path / "b.tif")
    paths = [str(tmp_path / "a.png"), str(tmp_path / "b.tif")]
    with pytest.raises(UserError, match="the images mix float and integer values"):
        fitted(paths)
    assert fitted(paths, value_range=(0, 4095)).value_range == (0, 4095)


def test_a_float_image_without_a_range_cannot_be_read(tmp_path: Path) -> None:
    Image.fromarray(RAMP.astype(np.float32)).save(tmp_path / "b.tif")
    _, bad = decode([str(tmp_path / "b.tif")], PLAIN, None)
    assert "--value_range" in bad[0]


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
@pytest.mark.parametrize(
    "options",
    [
        {"photometric": "minisblack", "planarconfig": "contig"},
        {"photometric": "minisblack", "planarconfig": "separate"},
        {"photometric": "rgb", "planarconfig": "contig"},
    ],
    ids=str,
)
def test_bands_are_selected_never_guessed(
    tmp_path: Path, dtype: type, options: dict, capfd: pytest.CaptureFixture
) -> None:
    scale = 200 if dtype == np.uint8 else 4000
    values = np.stack([scale * RAMP * factor for factor in (0.1, 0.2, 0.5, 1, 0.3)], 2).astype(dtype)
    path = str(tmp_path / "a.tif")
    planes = np.moveaxis(values, 2, 0).copy() if options["planarconfig"] == "separate" else values
    tifffile.imwrite(path, planes, **options)
    with pytest.raises(UserError, match=r"a.tif: 5 bands: select three with --bands R G B"):
        fitted([path])
    assert "5 bands" in decode([path], PLAIN, None)[1][0]
    with pytest.raises(UserError, match=r"a.tif: band 6 of 5: expected --bands of 1 to 5"):
        fitted([path], bands=(6, 1, 1))
    preprocess = fitted([path], bands=(4, 3, 2))
    pixels = pixels_of([path], preprocess)[0].astype(int)
    red, green, blue = np.moveaxis(pixels, 2, 0)
    assert abs(green[-1, -1] - red[-1, -1] / 2) <= 3 and abs(blue[-1, -1] - red[-1, -1] / 5) <= 3
    assert red.max() == (200 if dtype == np.uint8 else 255)
    assert "More samples" not in capfd.readouterr().err


def test_bands_of_ordinary_images(tmp_path: Path) -> None:
    path = str(tmp_path / "a.png")
    miniatures.picture(0).save(path)
    plain, swapped = (pixels_of([path], fitted([path], bands=bands))[0] for bands in (None, (3, 2, 1)))
    assert (plain[..., ::-1] == swapped).all() and not (plain == swapped).all()


def test_transparency_of_sixteen_bits_becomes_white(tmp_path: Path) -> None:
    values = np.zeros((4, 4, 4), np.uint16)
    write_png16(tmp_path / "a.png", values)
    path = str(tmp_path / "a.png")
    assert pixels_of([path], replace(PLAIN, size=(4, 4), value_range=(0, 4095))).min() == 255


def test_a_tiff_is_turned_once(tmp_path: Path) -> None:
    image = Image.new("RGB", (32, 16))
    image.paste((255, 255, 255), (0, 0, 16, 16))  # left half white
    for name, picture in (("a", image), ("b", Image.fromarray(np.asarray(image)[..., 0] * np.uint16(257)))):
        exif = Image.Exif()
        exif[0x0112] = 6  # left becomes top
        picture.save(tmp_path / f"{name}.tif", exif=exif)
        pixels = pixels_of([str(tmp_path / f"{name}.tif")], replace(PLAIN, size=(32, 16)))[0]
        assert pixels[:14].min() == 255 and pixels[18:].max() == 0


def test_only_the_first_of_several_frames(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    first, second = (Image.fromarray(np.full((8, 8, 3), value, np.uint8)) for value in (200, 10))
    paths = []
    for suffix in (".tif", ".gif", ".webp", ".png"):
        path = tmp_path / f"a{suffix}"
        first.save(path, save_all=True, append_images=[second])
        paths.append(str(path))
    deep = Image.fromarray(np.full((8, 8), 3000, np.uint16))
    deep.save(tmp_path / "deep.tif", save_all=True, append_images=[deep])
    first.save(tmp_path / "single.tif")
    paths += [str(tmp_path / "deep.tif"), str(tmp_path / "single.tif")]
    pixels = pixels_of(paths, replace(PLAIN, size=(8, 8), value_range=(0, 4095)))
    assert np.abs(pixels[[0, 1, 2, 3, 5]].astype(int) - 200).max() <= 3
    (line,) = [line for line in capsys.readouterr().err.splitlines() if "frames" in line]
    assert line.startswith("5 of 6 images have several frames or pages, the first is ")


@pytest.mark.draws
def test_check_reports_the_range_and_draws_a_contact_sheet(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    for name, values in (("up", RAMP), ("down", 1 - RAMP)):
        (tmp_path / "images" / name).mkdir(parents=True)
        for i in range(12):
            Image.fromarray((4095 * values).astype(np.uint16)).save(tmp_path / "images" / name / f"{i}.png")
    sheet = str(tmp_path / "look.jpg")
    command(["check", str(tmp_path / "images"), "--sheet", sheet])
    output = capsys.readouterr().out
    assert "\npixels: values 3 to 4091 become 0 to 255 (--value_range LOW HIGH overrides)\n" in output
    assert output.endswith(f"contact sheet -> {sheet}\n")
    with Image.open(sheet) as image:
        grey = np.asarray(image.convert("L"))
    assert (grey < 20).mean() > 0.01 and image.width >= image.height > 200
    with pytest.raises(SystemExit) as stop:
        command(["check", str(tmp_path / "images"), "--sheet", sheet])
    assert stop.value.code == 2 and "look.jpg exists already" in capsys.readouterr().err


def test_check_requires_bands_like_a_run(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    for name in "ab":
        (tmp_path / "images" / name).mkdir(parents=True)
        for i in range(12):
            values = np.full((8, 8, 5), 20 * i, np.uint8)
            path = tmp_path / "images" / name / f"{i}.tif"
            tifffile.imwrite(path, values, photometric="minisblack", planarconfig="contig")
    images = str(tmp_path / "images")
    for start in (["check", images], [images]):
        with pytest.raises(SystemExit) as stop:
            if start[0] == "check":
                command(start)
            else:
                main(folder.DATASET, ["--data_dir", images, "-model", "timm:test_resnet", "--weights", "none"])
        assert stop.value.code == 2
        assert "0.tif: 5 bands: select three with --bands R G B" in capsys.readouterr().err
    command(["check", images, "--bands", "4", "3", "2"])
    assert "pixels: bands 4 3 2 are red, green and blue" in capsys.readouterr().out
