"""Archives that are encrypted, packed in unknown ways, that have a name twice, or whose heads are bombs."""

import io
import struct
import tarfile
import warnings
import zipfile

import pytest

from errors import UserError
from intake import archive
from tests.intake.made import views
from tests.intake.test_layouts import S


@pytest.fixture
def good(tmp_path):
    return {f"a/{S}/{f.name}": f.read_bytes() for f in sorted(views(tmp_path / "from" / S).iterdir())}


@pytest.fixture
def into(tmp_path):
    (made := tmp_path / "into").mkdir()
    return made


def zipped(file, members, changes=()):
    """With `changes`, 16-bit fields of every member's heads: where in the first kind, where in the second, what."""
    with warnings.catch_warnings(), zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as held:
        warnings.simplefilter("ignore")  # of names that are there twice
        for name, content in members:
            held.writestr(name, content)
    whole = bytearray(file.read_bytes())
    for *places, value in changes:
        for mark, place in zip((b"PK\x03\x04", b"PK\x01\x02"), places, strict=True):
            at = -1
            while (at := whole.find(mark, at + 1)) >= 0:
                struct.pack_into("<H", whole, at + place, value)
    file.write_bytes(whole)
    return file


def tarred(file, members, mode="w:gz", **options):
    with tarfile.open(file, mode, **options) as held:
        for name, content in members.items():
            member = tarfile.TarInfo(name)
            member.size = len(content)
            held.addfile(member, io.BytesIO(content))
    return file


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ((6, 8, 1), "it is encrypted: unpack it, and hand in the folder"),
        ((8, 10, 99), "it is packed by method 99, which is not read here: pack it by deflate"),
    ],
)
def test_members_that_cannot_be_unpacked_are_not_called_damaged(tmp_path, into, good, change, said):
    left_out = archive.unpacked(zipped(tmp_path / "a.zip", good.items(), [change]), into)
    assert {r.why for r in left_out} == {said}
    assert len(left_out) == len(good)


def test_of_a_name_that_is_there_twice_the_first_is_kept(tmp_path, into, good):
    changed = [(name, b"another") for name in good]
    left_out = archive.unpacked(zipped(tmp_path / "a.zip", [*good.items(), *changed]), into)
    assert {r.why for r in left_out} == {"its name is there twice: the first is taken"}
    assert {name: (into / name).read_bytes() for name in good} == good


def test_a_tar_whose_heads_are_longer_than_any_name(tmp_path, into, good):
    bomb = {"format": tarfile.PAX_FORMAT, "pax_headers": {"comment": "x" * (2 * archive.LONGEST)}}
    for mode in ("w", "w:gz"):
        with pytest.raises(UserError, match="a head of 2 MB: it is no result"):
            archive.unpacked(tarred(tmp_path / "a.tar", good, mode, **bomb), into)
    long = {f"a/{'b' * 90}/{'c' * 90}/{name}": content for name, content in good.items()}
    assert not archive.unpacked(tarred(tmp_path / "b.tar", long), into)
    assert all((into / name).is_file() for name in long)


def test_a_flipped_bit_in_a_compressed_tar_is_found(tmp_path, into, good):
    file = tarred(tmp_path / "a.tar.gz", good)
    whole = file.read_bytes()
    assert not archive.unpacked(file, into)
    file.write_bytes(whole[:-8] + bytes([whole[-8] ^ 1]) + whole[-7:])  # of the checksum of all
    with pytest.raises(UserError, match=r"cannot be read \(CRC check failed"):
        archive.unpacked(file, into)
