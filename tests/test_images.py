"""Decoding: every odd file becomes the right pixels or one sentence, and listing is the same everywhere."""

from __future__ import annotations

import os
import struct
import zlib
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from holdfast.exceptions import HoldfastWarning, ImageError
from holdfast.images import MAX_PIXELS, list_images, open_image, thumbnail


def encoded(image: Image.Image, kind: str, **options: object) -> bytes:
    buffer = BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def gradient(width: int, height: int) -> Image.Image:
    """A picture in which every corner differs: red grows to the right, green downwards."""
    x, y = np.meshgrid(np.linspace(0, 255, width), np.linspace(0, 255, height))
    return Image.fromarray(np.stack([x, y, np.full_like(x, 60)], axis=-1).astype(np.uint8))


def png_header(width: int, height: int) -> bytes:
    """A PNG that declares a size and carries a handful of bytes: a decompression bomb in spirit."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n"
        + chunk(b"IHDR", header)
        + chunk(b"IDAT", zlib.compress(b"\0" * 99))
        + chunk(b"IEND", b"")
    )


def pixel(image: Image.Image, x: int, y: int) -> tuple[int, ...]:
    return tuple(np.asarray(image)[y, x])


# --- good files ---------------------------------------------------------------------------------------------


def test_path_string_bytes_and_image_give_the_same_pixels(tmp_path: Path) -> None:
    path = tmp_path / "a.png"
    gradient(7, 5).save(path)
    want = np.asarray(gradient(7, 5))
    for source in (path, str(path), path.read_bytes(), gradient(7, 5)):
        image = open_image(source)
        assert image.mode == "RGB"
        np.testing.assert_array_equal(np.asarray(image), want)


def test_one_pixel() -> None:
    image = open_image(encoded(Image.new("RGB", (1, 1), (1, 2, 3)), "PNG"))
    assert image.size == (1, 1)
    assert pixel(image, 0, 0) == (1, 2, 3)


@pytest.mark.parametrize("orientation", range(1, 9))
def test_exif_orientation_restores_the_scene(orientation: int) -> None:
    scene = np.asarray(gradient(8, 6))
    # What a camera stores for each tag value, so that the tag's turn gives back the scene.
    stored = {
        1: scene,
        2: scene[:, ::-1],
        3: scene[::-1, ::-1],
        4: scene[::-1],
        5: scene.transpose(1, 0, 2),
        6: np.rot90(scene, 1),
        7: scene[::-1, ::-1].transpose(1, 0, 2),
        8: np.rot90(scene, -1),
    }[orientation]
    exif = Image.Exif()
    exif[0x0112] = orientation
    data = encoded(Image.fromarray(np.ascontiguousarray(stored)), "PNG", exif=exif)
    np.testing.assert_array_equal(np.asarray(open_image(data)), scene)


@pytest.mark.filterwarnings("ignore:Corrupt EXIF")
@pytest.mark.parametrize("exif", [b"Exif\0\0garbage", b"Exif\0\0II*\0\xff\xff\xff\xff", b"Exif\0\0"])
def test_damaged_exif_does_not_lose_the_picture(exif: bytes) -> None:
    assert open_image(encoded(gradient(16, 8), "JPEG", exif=exif)).size == (16, 8)


@pytest.mark.parametrize("orientation", [0, 9, 77])
def test_orientation_that_does_not_exist_is_ignored(orientation: int) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    assert open_image(encoded(gradient(16, 8), "JPEG", exif=exif)).size == (16, 8)


def test_transparency_is_composed_on_white() -> None:
    layer = Image.new("RGBA", (3, 1))
    layer.putdata([(200, 0, 0, 255), (200, 0, 0, 0), (0, 0, 0, 128)])
    image = open_image(encoded(layer, "PNG"))
    assert pixel(image, 0, 0) == (200, 0, 0)
    assert pixel(image, 1, 0) == (255, 255, 255)
    np.testing.assert_allclose(pixel(image, 2, 0), 127, atol=1)


def test_transparency_of_grey_palette_and_colour_key() -> None:
    grey = Image.new("LA", (2, 1))
    grey.putdata([(40, 255), (40, 0)])
    palette = Image.new("P", (2, 1))
    palette.putpalette([10, 20, 30, 90, 90, 90])
    palette.putdata([0, 1])
    keyed = Image.new("RGB", (2, 1), (5, 6, 7))
    keyed.putpixel((0, 0), (1, 1, 1))
    cases = [
        (encoded(grey, "PNG"), (40, 40, 40)),
        (encoded(palette, "PNG", transparency=1), (10, 20, 30)),
        (encoded(palette, "GIF", transparency=1), (10, 20, 30)),
        (encoded(keyed, "PNG", transparency=(5, 6, 7)), (1, 1, 1)),
    ]
    for data, visible in cases:
        assert pixel(open_image(data), 0, 0) == visible
        assert pixel(open_image(data), 1, 0) == (255, 255, 255)


def test_palette_without_transparency() -> None:
    palette = Image.new("P", (1, 1))
    palette.putpalette([10, 20, 30])
    assert pixel(open_image(encoded(palette, "PNG")), 0, 0) == (10, 20, 30)


@pytest.mark.parametrize("kind", ["JPEG", "TIFF"])
def test_cmyk(kind: str) -> None:
    image = open_image(encoded(Image.new("CMYK", (16, 16), (0, 255, 255, 0)), kind))
    assert image.mode == "RGB"
    np.testing.assert_allclose(pixel(image, 8, 8), (255, 0, 0), atol=3)


def test_sixteen_bits_keep_their_white_point() -> None:
    deep = Image.fromarray(np.array([[0, 0x7FFF, 0xFFFF, 0x0101]], dtype=np.uint16))
    for kind in ("PNG", "TIFF"):
        image = np.asarray(open_image(encoded(deep, kind)))[0, :, 0]
        np.testing.assert_array_equal(image, [0, 127, 255, 1])


def test_floating_point_grey_is_stretched_and_constant_grey_survives() -> None:
    deep = Image.fromarray(np.array([[-1.0, 0.0, 1.0, np.nan]], dtype=np.float32))
    np.testing.assert_array_equal(np.asarray(open_image(encoded(deep, "TIFF")))[0, :, 0], [0, 128, 255, 128])
    flat = Image.fromarray(np.full((2, 2), 7.0, dtype=np.float32))
    np.testing.assert_array_equal(np.asarray(open_image(encoded(flat, "TIFF"))), 0)


@pytest.mark.parametrize("kind", ["GIF", "WEBP", "PNG", "TIFF"])
def test_animation_gives_its_first_frame(kind: str) -> None:
    frames = [Image.new("RGB", (4, 4), colour) for colour in ("red", "blue", "lime")]
    options = {"lossless": True} if kind == "WEBP" else {}
    data = encoded(frames[0], kind, save_all=True, append_images=frames[1:], **options)
    assert pixel(open_image(data), 1, 1) == (255, 0, 0)


def test_big_jpeg_is_reduced_but_never_below_twice_the_side() -> None:
    data = encoded(gradient(1200, 900), "JPEG", quality=95)
    assert open_image(data).size == (1200, 900)
    assert open_image(data, shorter_side=224).size == (600, 450)
    assert open_image(data, shorter_side=112).size == (300, 225)
    assert open_image(data, shorter_side=300).size == (1200, 900)
    reduced = np.asarray(open_image(data, shorter_side=112), dtype=float)
    whole = np.asarray(open_image(data).resize((300, 225), Image.Resampling.BOX), dtype=float)
    assert np.abs(reduced - whole).mean() < 1


def test_the_callers_image_is_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "a.jpg"
    gradient(1200, 900).save(path)
    with Image.open(path) as image:
        assert open_image(image, shorter_side=100).size == (1200, 900)
        assert image.size == (1200, 900)
    layer = Image.new("RGBA", (2, 2), (0, 0, 0, 0))
    open_image(layer)
    assert layer.mode == "RGBA"


# --- bad files ----------------------------------------------------------------------------------------------


NO_IMAGE = "is not an image that can be read (JPEG, PNG, WebP, ...); replace it or leave it out."


@pytest.fixture
def bad_files(tmp_path: Path) -> dict[str, Path]:
    jpeg = encoded(gradient(64, 64), "JPEG")
    png = bytearray(encoded(gradient(64, 64), "PNG"))
    png[len(png) // 2] ^= 0xFF
    contents = {
        "truncated.jpg": jpeg[:-40],
        "text.jpg": b"this is no picture",
        "empty.jpg": b"",
        "flipped.png": bytes(png),
        "strip.png": encoded(Image.new("L", (60_000, 1)), "PNG"),
        "bomb.png": png_header(40_000, 40_000),
        "large.png": png_header(12_000, 10_001),
        "script.eps": b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n%%EndComments\n",
    }
    for name, content in contents.items():
        (tmp_path / name).write_bytes(content)
    (tmp_path / "folder.jpg").mkdir()
    return {path.name: path for path in [*tmp_path.iterdir(), tmp_path / "missing.jpg"]}


@pytest.mark.parametrize(
    ("name", "sentence"),
    [
        ("truncated.jpg", "is truncated or damaged (image file is truncated"),
        ("flipped.png", "is truncated or damaged ("),
        ("text.jpg", NO_IMAGE),
        ("empty.jpg", NO_IMAGE),
        (
            "script.eps",
            NO_IMAGE,
        ),
        (
            "strip.png",
            "is 60,000 x 1 pixels and no side may exceed 50,000; crop it or leave it out.",
        ),
        ("bomb.png", "declares more than the 120 megapixels that are decoded; shrink it or leave it out."),
        (
            "large.png",
            "is 12,000 x 10,001 pixels, more than the 120 megapixels that are decoded; shrink it or",
        ),
        ("missing.jpg", "does not exist; check the path."),
        ("folder.jpg", "is a folder, not an image; use list_images for folders."),
    ],
)
@pytest.mark.filterwarnings("ignore::PIL.Image.DecompressionBombWarning")
def test_bad_file_is_one_sentence(bad_files: dict[str, Path], name: str, sentence: str) -> None:
    with pytest.raises(ImageError) as caught:
        open_image(bad_files[name])
    message = str(caught.value)
    assert message.startswith(f"{bad_files[name].as_posix()} {sentence}")
    assert message.endswith(".")
    assert "\n" not in message


def test_bad_bytes_and_closed_images_are_named() -> None:
    with pytest.raises(ImageError, match=r"^an image of 4 bytes is not an image"):
        open_image(b"1234")
    with Image.open(BytesIO(encoded(gradient(4, 4), "PNG"))) as image:
        pass
    with pytest.raises(ImageError, match=r"^an image in memory \(4 x 4, mode RGB\) is truncated or damaged"):
        open_image(image)


@pytest.mark.filterwarnings("ignore::PIL.Image.DecompressionBombWarning")
def test_size_is_checked_before_decoding(monkeypatch: pytest.MonkeyPatch) -> None:
    def load(*_: object) -> None:
        pytest.fail("decoded before its size was checked")

    monkeypatch.setattr("PIL.ImageFile.ImageFile.load", load)
    side = int(MAX_PIXELS**0.5) + 1  # more than Pillow warns of, less than it refuses
    with pytest.raises(ImageError, match="more than the 120 megapixels"):
        open_image(png_header(side, side))


@pytest.mark.filterwarnings("ignore")  # Pillow comments on much of what it survives
@settings(max_examples=150, deadline=None)
@given(st.data())
def test_damage_never_escapes_as_another_error(data: st.DataObject) -> None:
    kind = data.draw(st.sampled_from(["JPEG", "PNG", "GIF", "TIFF", "WEBP", "BMP"]))
    content = bytearray(encoded(gradient(20, 14), kind))
    for _ in range(data.draw(st.integers(1, 6))):
        content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    content = content[: data.draw(st.integers(0, len(content)))]
    try:
        image = open_image(bytes(content))
    except ImageError:
        return
    assert image.mode == "RGB"


# --- thumbnails ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("size", "want"), [((960, 480), (96, 48)), ((10, 20), (10, 20)), ((3000, 2), (96, 1))]
)
def test_thumbnail_fits_and_keeps_proportions(size: tuple[int, int], want: tuple[int, int]) -> None:
    image = Image.new("RGBA", size, (0, 0, 0, 0))
    small = thumbnail(image)
    assert small.size == want
    assert small.mode == "RGB"
    assert pixel(small, 0, 0) == (255, 255, 255)
    assert image.size == size


# --- folders ------------------------------------------------------------------------------------------------


def touch(root: Path, *names: str) -> Path:
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(b"")
    return root


def test_listing_is_recursive_sorted_and_skips_hidden_and_foreign(tmp_path: Path) -> None:
    touch(tmp_path, "b/2.JPG", "b/10.png", "a/x.webp", "a/notes.txt", ".cache/1.jpg", "a/._x.jpg", "LICENSE")
    found = list_images(tmp_path)
    assert found.ids == ("a/x.webp", "b/10.png", "b/2.JPG")
    assert [path.as_posix() for path in found.paths] == list(found.ids)
    assert found.root == tmp_path
    assert len(found) == 3


def test_class_folders_become_labels_across_splits(tmp_path: Path) -> None:
    touch(tmp_path, "train/hat/1.jpg", "train/shoes/1.jpg", "test/hat/2.jpg")
    found = list_images(tmp_path)
    assert dict(zip(found.ids, found.labels or (), strict=True)) == {
        "test/hat/2.jpg": "hat",
        "train/hat/1.jpg": "hat",
        "train/shoes/1.jpg": "shoes",
    }


@pytest.mark.parametrize(
    "names",
    [
        ("1.jpg", "2.jpg"),
        ("a/1.jpg", "a/2.jpg"),
        ("a/1.jpg", "b/1.jpg", "1.jpg"),
        ("x/img/1.jpg", "y/img/1.jpg"),
    ],
)
def test_no_labels_where_folders_are_no_classes(tmp_path: Path, names: tuple[str, ...]) -> None:
    assert list_images(touch(tmp_path, *names)).labels is None


def test_links_are_followed_but_loops_are_not(tmp_path: Path) -> None:
    root = touch(tmp_path / "root", "a/1.jpg")
    touch(tmp_path, "elsewhere/2.jpg")
    (root / "linked").symlink_to(tmp_path / "elsewhere")
    (root / "a" / "up").symlink_to(root)
    (root / "a" / "self.jpg").symlink_to(root / "a" / "self.jpg")
    (root / "a" / "dangling.jpg").symlink_to(tmp_path / "nowhere.jpg")
    assert list_images(root).ids == ("a/1.jpg", "linked/2.jpg")


def test_name_that_is_not_utf8_gets_an_id_that_can_be_stored(tmp_path: Path) -> None:
    raw = os.fsencode(tmp_path) + b"/caf\xe9.jpg"
    try:
        Path(os.fsdecode(raw)).write_bytes(b"")
    except OSError:
        pytest.skip("this file system accepts UTF-8 names only")
    found = list_images(tmp_path)
    assert found.ids == ("caf\\xe9.jpg",)
    assert (found.root / found.paths[0]).exists()


def test_bad_folder_is_one_sentence(tmp_path: Path) -> None:
    touch(tmp_path, "empty/notes.txt", "file.jpg")
    cases = {
        "missing": "missing does not exist; give a folder that holds images.",
        "file.jpg": "file.jpg is a file, not a folder; give the folder that holds the images.",
        "empty": "empty holds no image; images are files that end in .avif, .bmp, .gif, .jfif, .jpe, .jpeg, "
        ".jpg, .png, .tif, .tiff, .webp.",
    }
    for name, sentence in cases.items():
        with pytest.raises(ImageError) as caught:
            list_images(tmp_path / name)
        assert str(caught.value) == f"{tmp_path.as_posix()}/{sentence}"


def test_an_image_beside_class_folders_is_mentioned(tmp_path):
    folder = touch(tmp_path, "a/1.png", "b/2.png", "stray.png")
    with pytest.warns(HoldfastWarning, match=r"1 of 3 images lie beside the folders, stray\.png for one"):
        assert list_images(folder).labels is None
