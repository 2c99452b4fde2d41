"""Images as documents: what is known of each, what is refused, and the same pixels again."""

import hashlib
import struct
import zlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from actlake.flows import source_images
from actlake.flows.source_images import read_image
from actlake.flows.sources import Source, place_of, read
from actlake.storage.corpora import Document
from actlake.storage.errors import CorpusError, InputError
from tests.flows.image_files import draw, write_images


def documents(path: Path, **options: str) -> list[Document]:
    return list(read(Source(path=str(path), **options)))  # type: ignore[arg-type]


def test_folder__documents_are_paths_with_hashes_and_folders(tmp_path: Path) -> None:
    folder = write_images(tmp_path / "pets", draw(3))
    Image.fromarray(draw(1)[0]).save(folder / "top.PNG")
    (folder / ".hidden.png").write_bytes(b"no")
    found = documents(folder)
    assert [one.source_id for one in found] == ["a/00.png", "a/01.png", "b/02.png", "top.PNG"]
    assert [one.text for one in found] == [one.source_id for one in found]
    assert [one.labels["folder"] for one in found] == ["a", "a", "b", None]
    for one in found:
        right = hashlib.sha256((folder / one.text).read_bytes()).hexdigest()
        assert one.labels["image_sha256"] == right
    assert place_of(Source(path=str(folder))) == f"images:{folder}"
    one_file, glob = folder / "a" / "00.png", folder / "*" / "*.png"
    assert place_of(Source(path=str(one_file))) == f"images:{folder / 'a'}"
    assert place_of(Source(path=str(glob))) == f"images:{folder}"
    assert [one.text for one in documents(glob)] == ["a/00.png", "a/01.png", "b/02.png"]


def test_folder__labels_are_chosen_and_added_as_of_text(tmp_path: Path) -> None:
    folder = write_images(tmp_path / "pets", draw(2))
    (tmp_path / "facts.csv").write_text("file,age\na/00.png,3\nb/01.png,4\n")
    given = {"metadata": str(tmp_path / "facts.csv"), "metadata_key": "file"}
    found = list(read(Source(path=str(folder), labels=("age",), **given)))  # type: ignore[arg-type]
    assert [sorted(one.labels) for one in found] == [["age", "image_sha256"]] * 2
    found = list(read(Source(path=str(folder), where="folder = 'b'")))
    assert [one.text for one in found] == ["b/01.png"]
    with pytest.raises(CorpusError, match="is an image and has no column 'year'"):
        list(read(Source(path=str(folder), labels=("year",))))
    (tmp_path / "facts.csv").write_text("file,image_sha256\na/00.png,3\nb/01.png,4\n")
    with pytest.raises(CorpusError, match="'image_sha256', which every image has; rename"):
        list(read(Source(path=str(folder), **given)))  # type: ignore[arg-type]
    with pytest.raises(CorpusError, match=r"is an image; metadata is a table such as \.csv"):
        list(read(Source(path=str(folder), metadata=str(folder), metadata_key="x")))


def test_array__an_image_is_its_index(tmp_path: Path) -> None:
    pixels = draw(3)
    np.save(tmp_path / "pets.npy", pixels)
    np.save(tmp_path / "grey.npy", pixels[..., 0])
    found = documents(tmp_path / "pets.npy")
    assert [one.text for one in found] == ["pets.npy[0]", "pets.npy[1]", "pets.npy[2]"]
    assert len({one.labels["image_sha256"] for one in found}) == 3
    for index, one in enumerate(found):
        sha256 = str(one.labels["image_sha256"])
        assert np.array_equal(read_image(tmp_path, one.text, sha256), pixels[index])
    [grey, *_] = documents(tmp_path / "grey.npy")
    seen = read_image(tmp_path, grey.text, str(grey.labels["image_sha256"]))
    assert np.array_equal(seen, np.repeat(pixels[0, ..., :1], 3, axis=2))
    assert len(documents(tmp_path)) == 6


def test_pixels__are_rgb_whatever_the_file_holds(tmp_path: Path) -> None:
    colour = Image.fromarray(draw(1)[0])
    right = np.asarray(colour)
    turned = Image.Exif()
    turned[0x0112] = 3  # upside down
    made: dict[str, tuple[Image.Image, dict[str, object]]] = {
        "grey.png": (colour.convert("L"), {}),
        "alpha.png": (colour.convert("RGBA"), {}),
        "palette.gif": (colour.convert("P"), {}),
        "bits.tiff": (colour.convert("1"), {}),
        "ink.jpg": (colour.convert("CMYK"), {}),
        "turned.png": (colour, {"exif": turned}),
        "plain.bmp": (colour, {}),
        "photo.jpg": (colour, {"format": "MPO", "save_all": True, "append_images": [colour]}),
        "plain.webp": (colour, {"lossless": True}),
    }
    for name, (image, options) in made.items():
        image.save(tmp_path / name, **options)  # type: ignore[arg-type]
    seen = {
        one.text: read_image(tmp_path, one.text, str(one.labels["image_sha256"]))
        for one in documents(tmp_path)
    }
    assert {one.shape for one in seen.values()} == {(11, 9, 3)}
    assert {one.dtype.name for one in seen.values()} == {"uint8"}
    for name in ("alpha.png", "plain.bmp", "plain.webp"):
        assert np.array_equal(seen[name], right), name
    assert np.array_equal(seen["turned.png"], right[::-1, ::-1])
    assert np.array_equal(seen["grey.png"][..., 0], seen["grey.png"][..., 2])


def png(width: int, height: int, depth: int = 8) -> bytes:
    """The first bytes of an image of that size, without its pixels."""
    head = struct.pack(">IIBBBBB", width, height, depth, 2, 0, 0, 0)
    data = zlib.compress(b"")
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))
        for kind, body in ((b"IHDR", head), (b"IDAT", data), (b"IEND", b""))
    )


def whole(path: Path) -> bytes:
    Image.fromarray(draw(1)[0]).save(path)
    return path.read_bytes()


def frames(path: Path) -> None:
    first, *rest = [Image.fromarray(one) for one in draw(3)]
    first.save(path, save_all=True, append_images=rest)


BAD: dict[str, tuple[Callable[[Path], object], str]] = {
    "empty.png": (lambda path: path.write_bytes(b""), "cannot be read as an image: it is empty"),
    "text.jpg": (lambda path: path.write_text("text"), "not one of its formats; mend it"),
    "half.png": (lambda path: path.write_bytes(whole(path)[:150]), "cannot be read as an image"),
    "bad.png": (lambda path: path.write_bytes(whole(path)[:60] + b"x" * 90), "cannot be read"),
    "none.png": (lambda path: path.write_bytes(png(0, 5)), "cannot be read as an image"),
    "bomb.png": (lambda path: path.write_bytes(png(10_000, 10_000)), "more than 89,478,485"),
    "huge.png": (lambda path: path.write_bytes(png(60_000, 60_000)), "cannot be read as an image"),
    "film.gif": (frames, "has 3 frames; save those you want as single"),
    "wide.png": (
        lambda path: Image.fromarray(np.ones((4, 4), np.uint16)).save(path),
        r"more than 8 bits \(mode I;16\); convert",
    ),
    "deep.png": (
        lambda path: path.write_bytes(png(4, 4, depth=16)),
        r"more than 8 bits \(mode RGB",
    ),
    "post.eps.png": (lambda path: path.write_bytes(b"%!PS-Adobe"), "not one of its formats"),
    "text.npy": (lambda path: path.write_text("text"), "cannot be read as an array"),
    "empty.npy": (lambda path: path.write_bytes(b""), "cannot be read as an array"),
    "python.npy": (
        lambda path: path.write_bytes(b"\x93NUMPY\x01\x00\x10\x00" + b"{'descr': ('|u1'"),
        "cannot be read as an array",
    ),
    "half.npy": (lambda path: half(path), "cannot be read as an array"),
    "objects.npy": (
        lambda path: np.save(path, np.array([{}, {}]), allow_pickle=True),
        "cannot be read as an array",
    ),
    "real.npy": (lambda path: np.save(path, np.ones((2, 3, 3))), "is float64 and not uint8"),
    "flat.npy": (lambda path: np.save(path, np.ones((2, 3), np.uint8)), r"the shape \(2, 3\)"),
    "first.npy": (lambda path: np.save(path, np.ones((2, 3, 8, 8), np.uint8)), "the shape"),
    "hollow.npy": (lambda path: np.save(path, np.ones((0, 8, 8), np.uint8)), "hollow.npy"),
    "thin.npy": (lambda path: np.save(path, np.ones((4, 0, 8), np.uint8)), "thin.npy"),
}


def half(path: Path) -> None:
    np.save(path, draw(4))
    path.write_bytes(path.read_bytes()[:500])


@pytest.mark.parametrize("name", BAD)
def test_bad_images__are_refused_by_name_in_one_line(name: str, tmp_path: Path) -> None:
    make, said = BAD[name]
    make(tmp_path / name)
    with pytest.raises(CorpusError, match=said) as caught:
        documents(tmp_path / name)
    message = str(caught.value)
    assert "\n" not in message
    assert name in message
    assert ";" in message


def test_what_goes_with_text_alone__is_refused(tmp_path: Path) -> None:
    folder = write_images(tmp_path / "pets", draw(1))
    path = str(folder)
    for more in ({"unit": "line"}, {"min_words": 2}, {"spans": ("ner",)}):
        source = Source(path=path, **more)
        with pytest.raises(InputError, match="holds images, which have no paragraphs, lines"):
            list(read(source))
    (folder / "note.txt").write_text("text")
    with pytest.raises(CorpusError, match="holds files of the formats image, text; set format"):
        documents(folder)
    assert [one.text for one in documents(folder, format="image")] == ["a/00.png"]
    assert [one.text for one in documents(folder, format="text")] == ["text"]


def test_an_image_that_is_gone_or_changed__is_refused(tmp_path: Path) -> None:
    folder = write_images(tmp_path / "pets", draw(2))
    first, second = documents(folder)
    sha256 = str(first.labels["image_sha256"])
    assert read_image(folder, first.text, sha256).shape == (11, 9, 3)
    (folder / first.text).write_bytes((folder / second.text).read_bytes())
    with pytest.raises(CorpusError, match=r"a/00\.png in .* is another one than was ingested"):
        read_image(folder, first.text, sha256)
    (folder / first.text).unlink()
    with pytest.raises(CorpusError, match=r"a/00\.png is not in .* any more \(no such file"):
        read_image(folder, first.text, sha256)

    np.save(folder / "some.npy", draw(2))
    found = documents(folder / "some.npy")
    np.save(folder / "some.npy", draw(1))
    assert read_image(folder, found[0].text, str(found[0].labels["image_sha256"])).any()
    with pytest.raises(CorpusError, match=r"some\.npy\[1\] in .* is another one"):
        read_image(folder, found[1].text, str(found[1].labels["image_sha256"]))
    np.save(folder / "some.npy", draw(2, seed=1))
    with pytest.raises(CorpusError, match=r"some\.npy\[0\] in .* is another one"):
        read_image(folder, found[0].text, str(found[0].labels["image_sha256"]))
    (folder / "some.npy").unlink()
    with pytest.raises(CorpusError, match=r"some\.npy\[0\] is not in .* any more"):
        read_image(folder, found[0].text, str(found[0].labels["image_sha256"]))


def test_without_pillow__the_extra_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = write_images(tmp_path / "pets", draw(1, seed=7))
    monkeypatch.setitem(__import__("sys").modules, "PIL", None)
    source_images._pillow.cache_clear()
    with pytest.raises(CorpusError, match=r"Pillow, which is not installed; install actlake\[im"):
        documents(folder)
    monkeypatch.undo()
    assert len(documents(folder)) == 1


def test_place__of_a_relative_source_is_whole(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_images(tmp_path / "pets", draw(1))
    monkeypatch.chdir(tmp_path)
    assert place_of(Source(path="pets")) == f"images:{tmp_path / 'pets'}"


def damaged(data: bytes, rng: np.random.Generator) -> bytes:
    """``data`` with some bytes changed, gone or added, mostly in its first hundred."""
    found = bytearray(data)
    for _ in range(rng.integers(1, 5)):
        at = int(rng.integers(min(len(found), 128 if rng.random() < 0.7 else 1 << 30) or 1))
        size = int(rng.integers(1, 9))
        extra = rng.choice([b"\xff" * 4, bytes(4), rng.bytes(size)])
        found[at : at + int(rng.choice([0, 4, size]))] = bytes(extra)
    return bytes(found)


def test_damaged_images__are_documents_or_refused_in_one_line(tmp_path: Path) -> None:
    rng, noise = np.random.default_rng(0), draw(2)
    for suffix in ("bmp", "gif", "jpg", "png", "tiff", "webp", "npy"):
        path = tmp_path / f"one.{suffix}"
        if suffix == "npy":
            np.save(path, noise)
        else:
            Image.fromarray(noise[0]).save(path)
        data, said = path.read_bytes(), list[str]()
        for _ in range(60):
            path.write_bytes(damaged(data, rng))
            try:
                assert documents(path)
            except CorpusError as error:
                said.append(str(error))
        assert len(said) > 10
        assert all(path.name in one and "\n" not in one for one in said)
