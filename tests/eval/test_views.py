"""Reading pictures: ours, others', and what is wrong with them."""

import pytest
import torch
from PIL import Image

from errors import UserError
from eval.views import jobs, read
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

    Image.new("RGBA", (32, 32)).save(view)
    with pytest.raises(UserError, match="mode RGBA"):
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
