"""CLIP folders as people have them: read by the library's own names of files, or refused by what is wrong with them."""

from __future__ import annotations

import json
import shutil

import pytest
import torch
from safetensors.torch import load_file, save_file

from errors import UserError
from eval.encoders import load_clip
from run_benchmark import main
from tests.eval import clip as whole

WEIGHTS = "model.safetensors"
POSITIONS = "text_model.embeddings.position_embedding.weight"


@pytest.fixture
def folder(tmp_path):
    return shutil.copytree(whole.folder(), tmp_path / "clip")


def tensors(folder):
    return load_file(folder / WEIGHTS)


def save(found, file):
    save_file({name: t.contiguous() for name, t in found.items()}, file, metadata={"format": "pt"})


def features(folder):
    encoder = load_clip(folder)
    images = torch.rand(2, 3, 32, 32, generator=torch.Generator().manual_seed(1))
    return torch.cat([encoder.images(images), encoder.texts(["a red ball", "a blue tulip"])])


def edit(folder, **settings):
    file = folder / "config.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | settings))


def refused(folder, reason):
    with pytest.raises(UserError, match=reason) as caught:
        load_clip(folder)
    assert "\n" not in str(caught.value)


def test_shards_and_variants_and_marks_of_byte_order_are_read(folder):
    expected, found = features(whole.folder()), tensors(folder)
    (folder / WEIGHTS).unlink()
    save({name: t.half() for name, t in found.items()}, folder / "model.fp16.safetensors")
    torch.testing.assert_close(features(folder), expected, rtol=0, atol=5e-3)
    (folder / "model.fp16.safetensors").unlink()
    files = [f"model-0000{k + 1}-of-00002.safetensors" for k in (0, 1)]
    for k, file in enumerate(files):
        save({name: found[name] for name in sorted(found)[k::2]}, folder / file)
    index = {name: files[k % 2] for k, name in enumerate(sorted(found))}
    (folder / f"{WEIGHTS}.index.json").write_text(json.dumps({"metadata": {}, "weight_map": index}))
    for file in folder.glob("*.json"):
        file.write_bytes(b"\xef\xbb\xbf" + file.read_bytes().removeprefix(b"\xef\xbb\xbf"))
    assert torch.equal(features(folder), expected)
    (folder / files[1]).unlink()
    refused(folder, f"lack {files[1]}")


def test_files_beside_that_are_not_read_leave_the_checksum(folder):
    before = load_clip(folder).checksum
    save({"a": torch.zeros(1)}, folder / "lora.safetensors")
    (folder / "._config.json").write_bytes(b"\0")
    assert load_clip(folder).checksum == before


def test_a_clip_of_longer_texts_is_read_where_its_configuration_says_so(folder):
    found = tensors(folder)
    name = next(n for n in found if n.endswith("position_embedding.weight") and "text" in n)
    long = torch.cat([found[name]] * 3)
    save(found | {name: long}, folder / WEIGHTS)
    refused(folder, "in another shape")
    text = json.loads((folder / "config.json").read_text())["text_config"]
    edit(folder, text_config=text | {"max_position_embeddings": len(long)})
    assert load_clip(folder).longest == len(long)


@pytest.mark.parametrize("kind", ["siglip", "blip", "clip_text_model"])
def test_another_kind_of_model(folder, kind):
    edit(folder, model_type=kind)
    refused(folder, f"is no CLIP: its config.json says {kind}")


def test_damaged_weights(folder):
    found = tensors(folder)
    name = sorted(found)[-1]
    save(found | {name: found[name] * float("nan")}, folder / WEIGHTS)
    refused(folder, f"damaged: {name} is not finite")
    save({n: (10 * t).to(torch.int8) for n, t in found.items()}, folder / WEIGHTS)
    refused(folder, "are quantised")
    save({n: t * 0 if "visual" in n or "vision" in n else t for n, t in found.items()}, folder / WEIGHTS)
    refused(folder, "takes unlike pictures for the same")
    save({n: t * 0 if "text" in n else t for n, t in found.items()}, folder / WEIGHTS)
    refused(folder, "takes unlike texts for the same")
    (folder / WEIGHTS).write_bytes(b"cut")
    refused(folder, f"{WEIGHTS} cannot be read")
    (folder / WEIGHTS).unlink()
    torch.save(found, folder / "pytorch_model.bin")
    refused(folder, "There are no weights in .*safetensors files are needed")


def test_a_clip_that_cannot_judge_is_refused_before_any_job(folder, tmp_path, capsys):
    found = tensors(folder)
    found.pop("visual_projection.weight")
    save(found, folder / WEIGHTS)
    out = tmp_path / "run"
    assert main(["--clip", str(folder), "--steps", "1", "--limit", "1", "--out", str(out)]) == 2
    assert "they lack visual_projection.weight" in capsys.readouterr().err
    assert not out.exists()
