"""Reading pictures: ours, others', and what is wrong with them."""

import pytest
import torch
from PIL import Image

from errors import UserError
from eval.views import checksum, has_pictures, jobs, read, strays
from tests.reports.synthetic import WORLD, ball, save, write_job


@pytest.fixture
def job(tmp_path):
    return write_job(tmp_path, "sdi", WORLD[0], 0, ball(8))


def test_views_come_back_in_order_to_eight_bits(job):
    pictures = read(job)
    rgb, opacity = ball(8)
    torch.testing.assert_close(pictures.rgb, rgb, atol=0.5 / 255 + 1e-6, rtol=0)
    torch.testing.assert_close(pictures.opacity, opacity, atol=0.5 / 255 + 1e-6, rtol=0)


def test_pictures_made_elsewhere_have_no_opacity(tmp_path):
    folder = tmp_path / "mine" / WORLD[0].id / "0"
    folder.mkdir(parents=True)
    for v, rgb in enumerate(ball(3)[0]):
        save(rgb, folder / f"rgb_{v:03d}.png")
    assert jobs(tmp_path) == [folder]
    assert read(folder).opacity is None
    assert read(folder).rgb.shape == (3, 3, 32, 32)


def test_jobs_under_way_are_not_seen(job, tmp_path):
    work = tmp_path / ".unfinished" / "sdi" / "x" / "0"
    work.mkdir(parents=True)
    (work / "record.json").write_text("{}")
    assert jobs(tmp_path) == [job]


def test_what_is_wrong_is_said(job, tmp_path):
    view = job / "views" / "rgb_003.png"
    content = view.read_bytes()

    view.write_bytes(content[: len(content) // 2])
    with pytest.raises(UserError, match=r"rgb_003\.png is damaged"):
        read(job)

    Image.new("RGB", (16, 16)).save(view)
    with pytest.raises(UserError, match="16x16 where the first is 32x32"):
        read(job)

    for mode in ("RGBA", "LA", "I;16"):
        Image.new(mode, (32, 32)).save(view)
        with pytest.raises(UserError, match=f"mode {mode}: save it as 8-bit RGB"):
            read(job)

    view.unlink()
    with pytest.raises(UserError, match=r"rgb_003\.png is missing"):
        read(job)

    with pytest.raises(UserError, match="no views"):
        read(tmp_path)
    with pytest.raises(UserError, match="does not exist"):
        jobs(tmp_path / "nowhere")
    (tmp_path / "empty").mkdir()
    with pytest.raises(UserError, match="no jobs"):
        jobs(tmp_path / "empty")


def test_a_missing_opacity_is_said(job):
    (job / "views" / "opacity_005.png").unlink()
    with pytest.raises(UserError, match=r"opacity_005\.png is missing"):
        read(job)


def made_elsewhere(folder, count=12, name="rgb_{}.png", first=0):
    """Grey views, each brighter than the one before."""
    folder.mkdir(parents=True)
    for v in range(count):
        Image.new("RGB", (8, 8), (10 * v,) * 3).save(folder / name.format(v + first))
    return folder


@pytest.mark.parametrize("first", [0, 1])
@pytest.mark.parametrize("name", ["rgb_{}.png", "rgb_{:02d}.png", "rgb_{:05d}.PNG", "rgb_{:03d}.jpg", "rgb_{}.jpeg"])
def test_numbers_are_read_as_numbers_however_they_are_written(tmp_path, name, first):
    folder = made_elsewhere(tmp_path / "mine" / WORLD[0].id / "0", 12, name, first)
    assert jobs(tmp_path) == [folder]
    assert has_pictures(folder)
    levels = (read(folder).rgb.mean((1, 2, 3)) * 255).round()
    torch.testing.assert_close(levels, 10.0 * torch.arange(12), atol=1, rtol=0)


@pytest.mark.parametrize("mode", ["RGBA", "P", "L"])
def test_opaque_pictures_of_other_modes_are_read(tmp_path, mode):
    folder = made_elsewhere(tmp_path / mode, 3)
    for file in folder.iterdir():
        picture = Image.open(file)
        (picture.quantize(4) if mode == "P" else picture.convert(mode)).save(file)
    torch.testing.assert_close((read(folder).rgb[:, 0, 0, 0] * 255).round(), torch.tensor([0.0, 10.0, 20.0]))


def test_a_gap_and_a_double_are_named(tmp_path):
    folder = made_elsewhere(tmp_path / "mine", 12)
    (folder / "rgb_7.png").rename(folder / "rgb_08.png")
    with pytest.raises(UserError, match=r"The view rgb_07?\.png is missing"):
        read(folder)
    (folder / "rgb_9.png").rename(folder / "rgb_7.png")
    with pytest.raises(UserError, match=r"rgb_0?8\.png is there twice"):
        read(folder)


def test_nobody_is_told_to_delete_what_is_theirs(job, tmp_path):
    theirs = made_elsewhere(tmp_path / "mine", 3)
    for folder, view, told in ((job, job / "views" / "rgb_001.png", True), (theirs, theirs / "rgb_1.png", False)):
        view.write_bytes(b"torn")
        with pytest.raises(UserError, match="damaged") as error:
            read(folder)
        assert (f"delete {folder} " in str(error.value)) == told


def test_a_checksum_is_of_all_pictures(job):
    before = checksum(job)
    assert checksum(job) == before
    Image.new("L", (32, 32)).save(job / "views" / "opacity_003.png")
    assert checksum(job) != before


def test_views_in_other_places_are_found(job, tmp_path):
    places = ["mine", "mine/07-a-ripe-strawberry", "mine/x/0/pictures"]
    for place in places:
        (tmp_path / place).mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (8, 8)).save(tmp_path / place / "rgb_0.png")
    assert strays(tmp_path) == sorted(tmp_path / place for place in places)
