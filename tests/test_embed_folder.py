"""A folder becomes a table: labels, quarantine, and nothing lost when the run is killed."""

from __future__ import annotations

import csv
import os
import signal
import subprocess
import sys
import textwrap
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from holdfast.embedding import Embedder, embed_folder, parts
from holdfast.exceptions import ImageError, OutputError
from holdfast.images import ImageSource, describe_source, open_image
from holdfast.io import Embeddings, read_embeddings, write_embeddings


class Colours:
    """An encoder without a model, which remembers what it was asked to prepare."""

    name, dim = "colours", 48

    def __init__(self, recipe: str = "0123456789abcdef") -> None:
        self.recipe = recipe
        self.prepared: list[str] = []

    def prepare(self, image: ImageSource) -> np.ndarray:
        self.prepared.append(Path(describe_source(image)).name)
        return np.asarray(open_image(image).resize((4, 4)), dtype=np.float32).transpose(2, 0, 1)

    def encode(self, pixels: np.ndarray) -> np.ndarray:
        return pixels.reshape(len(pixels), -1)


def colours(recipe: str = "0123456789abcdef") -> tuple[Embedder, Colours]:
    encoder = Colours(recipe)
    return Embedder(encoder, batch_size=4, threads=2), encoder


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    """Twenty pictures in two classes, 00.png to 19.png."""
    rng = np.random.default_rng(0)
    for i in range(20):
        path = tmp_path / "photos" / ("hat" if i % 2 else "shoe") / f"{i:02d}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(rng.integers(1, 256, (6, 7, 3), dtype=np.uint8)).save(path)
    return tmp_path / "photos"


@pytest.fixture
def every_batch_is_a_part(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(parts, "PART_SECONDS", 0.0)


def stop_after(n: int) -> Callable[[int, int], None]:
    """Press Ctrl-C when `n` images are done."""

    def progress(done: int, total: int) -> None:
        if done >= n:
            raise KeyboardInterrupt

    return progress


def equal(a: Embeddings, b: Embeddings) -> bool:
    return (
        np.array_equal(a.ids, b.ids)
        and np.array_equal(a.X, b.X)
        and np.array_equal(a.labels, b.labels)
        and np.array_equal(a.paths, b.paths)
        and a.encoder == b.encoder
    )


# --- the table ----------------------------------------------------------------------------------------------


def test_table_has_ids_labels_paths_and_recipe(photos: Path, tmp_path: Path) -> None:
    embedder, _ = colours()
    out = tmp_path / "out" / "emb.parquet"
    result = embed_folder(embedder, photos, out=out)
    emb = result.embeddings
    assert result.quarantined == []
    assert emb.ids[:2].tolist() == ["hat/01.png", "hat/03.png"]
    assert emb.paths is not None
    assert emb.paths[0] == (photos / "hat/01.png").as_posix()
    assert emb.labels is not None
    assert emb.labels.tolist() == ["hat"] * 10 + ["shoe"] * 10
    assert emb.encoder == embedder.recipe
    np.testing.assert_array_equal(emb.X, embedder.embed([photos / i for i in emb.ids]))
    assert equal(read_embeddings(out), emb)
    assert [path.name for path in out.parent.iterdir()] == ["emb.parquet"]


def test_without_out_nothing_is_written(photos: Path, tmp_path: Path) -> None:
    embed_folder(colours()[0], photos)
    assert [path.name for path in tmp_path.iterdir()] == ["photos"]


@pytest.mark.parametrize("suffix", [".parquet", ".npz", ".npy", ".csv"])
def test_every_kind_of_table(photos: Path, tmp_path: Path, suffix: str) -> None:
    result = embed_folder(colours()[0], photos, out=tmp_path / f"emb{suffix}")
    np.testing.assert_allclose(read_embeddings(tmp_path / f"emb{suffix}").X, result.embeddings.X, rtol=1e-6)


def test_progress_counts_every_image_once(photos: Path) -> None:
    calls: list[tuple[int, int]] = []
    embed_folder(colours()[0], photos, progress=lambda done, total: calls.append((done, total)))
    assert calls == [(0, 20), (4, 20), (8, 20), (12, 20), (16, 20), (20, 20)]


# --- quarantine ---------------------------------------------------------------------------------------------


def test_broken_images_are_set_aside_and_listed(
    photos: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (photos / "hat" / "01.png").write_bytes(b"no, picture")
    (photos / "shoe" / "18.png").write_bytes((photos / "shoe" / "18.png").read_bytes()[:60])
    Image.new("RGB", (3, 3)).save(photos / "shoe" / "black.png")
    out = tmp_path / "emb.v1.parquet"
    calls: list[int] = []
    result = embed_folder(colours()[0], photos, out=out, progress=lambda done, _: calls.append(done))
    assert calls[-1] == 21
    assert [item.path for item in result.quarantined] == ["hat/01.png", "shoe/18.png", "shoe/black.png"]
    assert len(result.embeddings) == 18
    assert result.embeddings.labels is not None
    assert result.embeddings.labels.tolist() == ["hat"] * 9 + ["shoe"] * 9
    with (tmp_path / "emb.v1.quarantine.csv").open(newline="") as file:
        rows = list(csv.reader(file))
    assert rows[0] == ["path", "reason"]
    assert rows[1:] == [[item.path, item.reason] for item in result.quarantined]
    assert "is not an image that can be read" in rows[1][1]
    assert "is truncated or damaged" in rows[2][1]
    assert "has a zero or non-finite embedding" in rows[3][1]
    assert "3 of 21 images were set aside" in caplog.text
    first, *others = result.quarantined
    assert f"{first.reason} Also: {others[0].path}, {others[1].path}." in caplog.text


def test_list_of_an_earlier_run_does_not_stay(photos: Path, tmp_path: Path) -> None:
    good = (photos / "hat" / "01.png").read_bytes()
    (photos / "hat" / "01.png").write_bytes(b"")
    embed_folder(colours()[0], photos, out=tmp_path / "emb.npz")
    assert (tmp_path / "emb.quarantine.csv").exists()
    (photos / "hat" / "01.png").write_bytes(good)
    embed_folder(colours()[0], photos, out=tmp_path / "emb.npz")
    assert not (tmp_path / "emb.quarantine.csv").exists()


def test_all_images_broken(tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    for name in ("a.jpg", "b.jpg"):
        (tmp_path / "in" / name).write_bytes(b"text")
    with pytest.raises(ImageError) as caught:
        embed_folder(colours()[0], tmp_path / "in", out=tmp_path / "emb.parquet")
    root = (tmp_path / "in").as_posix()
    assert str(caught.value) == (
        f"None of the 2 images in {root} can be used: {root}/a.jpg is not an image that can be read "
        "(JPEG, PNG, WebP, ...); replace it or leave it out."
    )
    assert [path.name for path in tmp_path.iterdir()] == ["in"]


# --- bad requests -------------------------------------------------------------------------------------------


def test_bad_folder_leaves_nothing_behind(tmp_path: Path) -> None:
    with pytest.raises(ImageError, match="does not exist; give a folder that holds images"):
        embed_folder(colours()[0], tmp_path / "missing", out=tmp_path / "emb.parquet")
    assert list(tmp_path.iterdir()) == []


def test_output_is_checked_before_the_work(photos: Path, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    (tmp_path / "folder.npz").mkdir()
    embedder, encoder = colours()
    for name in ("emb.txt", "emb", "file/emb.parquet", "folder.npz"):
        with pytest.raises(OutputError):
            embed_folder(embedder, photos, out=tmp_path / name)
    assert encoder.prepared == []


def test_unknown_suffix_has_the_sentence_of_the_tables(photos: Path, tmp_path: Path) -> None:
    with pytest.raises(OutputError) as ours:
        embed_folder(colours()[0], photos, out=tmp_path / "emb.txt")
    with pytest.raises(OutputError) as theirs:
        write_embeddings(Embeddings(np.array(["a"]), np.ones((1, 2), np.float32)), tmp_path / "emb.txt")
    assert str(ours.value) == str(theirs.value)


# --- resuming -----------------------------------------------------------------------------------------------


@pytest.mark.usefixtures("every_batch_is_a_part")
def test_interrupted_run_goes_on_where_it_was(photos: Path, tmp_path: Path) -> None:
    out = tmp_path / "emb.parquet"
    want = embed_folder(colours()[0], photos).embeddings
    with pytest.raises(KeyboardInterrupt):
        embed_folder(colours()[0], photos, out=out, progress=stop_after(12))
    assert not out.exists()
    assert len(list((tmp_path / "emb.parquet.parts").iterdir())) == 3
    embedder, encoder = colours()
    calls: list[int] = []
    got = embed_folder(embedder, photos, out=out, progress=lambda done, _: calls.append(done)).embeddings
    assert sorted(encoder.prepared) == sorted(Path(i).name for i in want.ids[12:])
    assert calls == [12, 16, 20]
    assert equal(got, want)
    assert equal(read_embeddings(out), want)
    assert not (tmp_path / "emb.parquet.parts").exists()


def test_ctrl_c_keeps_what_no_part_was_due_for(photos: Path, tmp_path: Path) -> None:
    with pytest.raises(KeyboardInterrupt):
        embed_folder(colours()[0], photos, out=tmp_path / "emb.npz", progress=stop_after(8))
    (part,) = (tmp_path / "emb.npz.parts").iterdir()
    assert len(read_embeddings(part)) == 8


@pytest.mark.usefixtures("every_batch_is_a_part")
def test_changed_files_and_other_recipes_are_done_again(photos: Path, tmp_path: Path) -> None:
    out = tmp_path / "emb.npz"
    with pytest.raises(KeyboardInterrupt):
        embed_folder(colours()[0], photos, out=out, progress=stop_after(8))
    touched = photos / "hat" / "03.png"
    os.utime(touched, ns=(1, touched.stat().st_mtime_ns + 1))
    (photos / "hat" / "05.png").unlink()
    embedder, encoder = colours()
    with pytest.raises(KeyboardInterrupt):
        embed_folder(embedder, photos, out=out, progress=stop_after(10))
    assert "03.png" in encoder.prepared
    assert not {"01.png", "07.png", "15.png"} & set(encoder.prepared)
    other, encoder = colours("another recipe")
    result = embed_folder(other, photos, out=out)
    assert len(encoder.prepared) == len(result.embeddings) == 19
    assert result.embeddings.encoder == "another recipe"


@pytest.mark.usefixtures("every_batch_is_a_part")
def test_damaged_part_is_ignored(photos: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    out = tmp_path / "emb.npz"
    with pytest.raises(KeyboardInterrupt):
        embed_folder(colours()[0], photos, out=out, progress=stop_after(8))
    (tmp_path / "emb.npz.parts" / "part-000001.parquet").write_bytes(b"PAR1")
    embedder, encoder = colours()
    result = embed_folder(embedder, photos, out=out)
    assert len(encoder.prepared) == 16
    assert len(result.embeddings) == 20
    assert "a part of an earlier run is ignored" in caplog.text


def test_killed_run_leaves_finished_parts(photos: Path, tmp_path: Path) -> None:
    out = tmp_path / "emb.parquet"
    script = tmp_path / "run.py"
    script.write_text(
        textwrap.dedent(
            f"""
            import sys, time
            sys.path.insert(0, {str(Path(__file__).parent)!r})
            from holdfast.embedding import embed_folder, parts
            from test_embed_folder import colours
            parts.PART_SECONDS = 0.0
            def slow(done, total):
                if done >= 12:
                    print("ready", flush=True)
                    time.sleep(60)
            embed_folder(colours()[0], {str(photos)!r}, out={str(out)!r}, progress=slow)
            """
        )
    )
    with subprocess.Popen([sys.executable, script], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        process.send_signal(signal.SIGKILL)
    # A temporary that was being written when the process died is not taken for a part.
    (tmp_path / "emb.parquet.parts" / ".tmp-0-part-000009.parquet").write_bytes(b"PAR1")
    embedder, encoder = colours()
    result = embed_folder(embedder, photos, out=out)
    assert len(encoder.prepared) == 8
    assert equal(result.embeddings, embed_folder(colours()[0], photos).embeddings)
    assert not (tmp_path / "emb.parquet.parts").exists()


def test_file_that_goes_away_is_set_aside(photos: Path, tmp_path: Path) -> None:
    class Vanishing(Colours):
        def prepare(self, image: ImageSource) -> np.ndarray:
            (photos / "shoe" / "18.png").unlink(missing_ok=True)
            return super().prepare(image)

    result = embed_folder(Embedder(Vanishing(), batch_size=2), photos, out=tmp_path / "emb.npz")
    assert [item.path for item in result.quarantined] == ["shoe/18.png"]
    assert result.quarantined[0].reason.endswith("18.png does not exist; check the path.")


def test_parts_are_written_after_a_while(
    photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = iter(range(0, 10_000, 20))
    monkeypatch.setattr(time, "monotonic", lambda: float(next(clock)))
    writer = parts.PartWriter(tmp_path / "parts", "recipe")
    for i in range(5):
        writer.add([f"key {i}"], np.ones((1, 3), np.float32))
    # Every look at the clock takes 20 s: nothing after 20, a part after 40.
    written = [read_embeddings(path).ids.tolist() for path in sorted((tmp_path / "parts").iterdir())]
    assert written == [["key 0", "key 1"], ["key 2", "key 3"]]
