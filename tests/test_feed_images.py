"""Images as feeds: sizes, channels, normalisation, batches; what cannot be used is one line."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from clirun import Cli

from graphtool.cases import model_of
from graphtool.errors import FeedError, UsageError
from graphtool.parity.feed_images import Preprocess, parse_preprocess
from graphtool.parity.feed_sets import feeds_from

Image = pytest.importorskip("PIL.Image", reason="the extra 'pictures' is not installed")

NET = "g (float[{n},3,4,6] x) => (float[{n},3,4,6] y) {{ i = Identity(x) y = Relu(i) }}"


def picture(path: Path, colour: tuple[int, int, int], size: tuple[int, int] = (6, 4)) -> Path:
    Image.new("RGB", size, colour).save(path)
    return path


def test_pixels_are_normalised_by_channel(tmp_path: Path) -> None:
    path = picture(tmp_path / "a.png", (255, 0, 51), (12, 9))
    graph = model_of(NET.format(n=1), 17)
    (feed,) = feeds_from([path], graph)
    assert feed.arrays["x"].shape == (1, 3, 4, 6) and feed.arrays["x"].dtype == np.float32
    assert feed.arrays["x"][0, :, 0, 0].tolist() == pytest.approx([1, 0, 0.2])
    how = parse_preprocess("0.5,0.5,0.2", "0.5", bgr=True)
    assert feeds_from([path], graph, how)[0].arrays["x"][0, :, 1, 2].tolist() == pytest.approx([-0.6, -1, 1.6])
    (feed,) = feeds_from([path], model_of("g (uint8[1,4,6,3] x) => (uint8[1,4,6,3] y) { y = Identity(x) }", 17))
    assert feed.arrays["x"][0, 0, 0].tolist() == [255, 0, 51]
    (feed,) = feeds_from([path], model_of("g (float[N,1,H,W] x) => (float[N,1,H,W] y) { y = Relu(x) }", 17))
    assert feed.arrays["x"].shape == (1, 1, 9, 12)


def test_a_folder_fills_batches_of_different_images(tmp_path: Path) -> None:
    for number in range(5):
        picture(tmp_path / f"{number}.png", (number, 0, 0))
    feeds = feeds_from([tmp_path], model_of(NET.format(n=2), 17))
    assert [np.rint(feed.arrays["x"][:, 0, 0, 0] * 255).tolist() for feed in feeds] == [[0, 1], [2, 3]]
    assert feeds[0].text() == "0.png and 1 more (pixels from 0 to 1)"
    assert len(feeds_from([tmp_path], model_of(NET.format(n="N"), 17))) == 5


def test_what_is_no_image_or_fits_none_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(b"\x89PNG no")
    graph = model_of(NET.format(n=1), 17)
    with pytest.raises(FeedError, match="cannot be read"):
        feeds_from([tmp_path / "a.png"], graph)
    with pytest.raises(FeedError, match=r"gone\.png' cannot be read: No such file or directory$"):
        feeds_from([tmp_path / "gone.png"], graph)
    good = picture(tmp_path / "b.png", (1, 2, 3))
    for text in (
        "g (float[1,4] x) => (float[1,4] y) { y = Relu(x) }",
        "g (bool[1,3,4,6] x) => (bool[1,3,4,6] y) { y = Not(x) }",
    ):
        with pytest.raises(FeedError, match="which no image fits"):
            feeds_from([good], model_of(text, 17))
    with pytest.raises(FeedError, match="takes 2 at a time"):
        feeds_from([good], model_of(NET.format(n=2), 17))
    for mean, std in (("a", None), ("1,2", None), (None, "0"), (None, "nan")):
        with pytest.raises(UsageError, match="--image-"):
            parse_preprocess(mean, std)
    assert parse_preprocess(None, None) == Preprocess()


def test_a_run_is_judged_on_images(cli: Cli) -> None:
    cli.save("m.onnx", NET.format(n=1))
    for number in range(2):
        picture(cli.folder / f"{number}.png", (99, number, 7))
    out = cli.ok("run", "m.onnx", "-p", "remove_identity", "--feed", "0.png", "--feed", "1.png", "--image-std", "0.5")
    assert "2 feeds: 0.png (mean 0, std 0.5); 1.png (mean 0, std 0.5)" in out
    assert "--image-std" in cli.refused("run", "m.onnx", "-p", "remove_identity", "--image-std", "0")


def test_a_profile_says_how_images_become_inputs(cli: Cli) -> None:
    cli.save("net.onnx", NET.format(n=1))
    picture(cli.folder / "a.png", (255, 0, 51))
    cli.write("p.toml", 'extends = "ascend310"\n[images]\nmean = [0.5, 0.5, 0.2]\nstd = 0.5\nbgr = true\n')
    words = ("run", "-p", "remove_identity", "net.onnx", "--feed", "a.png", "--profile", "p.toml")
    assert "a.png (mean 0.5,0.5,0.2, std 0.5, BGR)" in cli.ok(*words)
    assert "a.png (mean 0, std 2)" in cli.ok(*words, "--image-std", "2")  # the command line comes first
    for line, reason in {
        "mean = 'x'": "p.toml: images.mean: 'x' is not a number, or a list of one for each channel",
        "std = 0": "p.toml: images: std 0: a deviation of 0 divides by it",
        "mean = [1, 2]": "p.toml: images: mean 1,2: one number, or one for each of three channels",
        "bgr = 1": "p.toml: images.bgr: 1 is neither true nor false",
        "men = 1": "p.toml: images.men: unknown key; did you mean 'mean'?",
    }.items():
        cli.write("p.toml", f'extends = "ascend310"\n[images]\n{line}\n')
        assert cli.refused(*words) == reason
