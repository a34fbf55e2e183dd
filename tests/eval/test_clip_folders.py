"""CLIP folders as people have them: read by the library's own names of files, or refused by what is wrong with them."""

from __future__ import annotations

import json
import shutil

import pytest
import torch
from safetensors.torch import load_file, save_file

from errors import UserError
from eval.encoders import PICTURES, load_clip
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


def words(folder, change):
    file = folder / "tokenizer.json"
    content = json.loads(file.read_text())
    change(content["model"])
    file.write_text(json.dumps(content))


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (lambda model: model["vocab"].update({"more</w>": len(model["vocab"])}), "is another model's"),
        (lambda model: model.update(merges=[]), "its merges are not its words'"),
        (
            lambda model: model["vocab"].update({f"~{k}": model["vocab"].pop(f"{k}</w>") for k in "qz"}),
            "takes unlike texts for the same",
        ),
    ],
)
def test_another_models_words(folder, change, reason):
    words(folder, change)
    refused(folder, reason)


@pytest.mark.parametrize(
    ("files", "reason"),
    [
        (["tokenizer.json"], "has no words: it lacks vocab.json and merges.txt"),
        (["processor_config.json"], "how it sees pictures: preprocessor_config.json is missing"),
    ],
)
def test_settings_that_are_missing(folder, files, reason):
    for name in files:
        (folder / name).unlink()
    refused(folder, reason)


def test_settings_of_pictures_may_have_their_older_name(folder):
    expected, file = features(folder), folder / "processor_config.json"
    settings = json.loads(file.read_text())["image_processor"]
    file.unlink()
    (folder / "preprocessor_config.json").write_text(json.dumps(settings))
    assert torch.equal(features(folder), expected)


def test_pictures_of_another_size(folder):
    file = folder / "processor_config.json"
    settings = json.loads(file.read_text())
    settings["image_processor"] |= {"crop_size": {"height": 16, "width": 16}, "size": {"shortest_edge": 16}}
    file.write_text(json.dumps(settings))
    refused(folder, "cannot read pictures: .*16")


def test_a_link_into_a_cache_that_was_cleared(folder):
    (folder / WEIGHTS).unlink()
    (folder / WEIGHTS).symlink_to("blobs-of-no-one")
    refused(folder, f"{WEIGHTS} cannot be read .*No such file")


@pytest.mark.parametrize("option", ["--clip", "--clip2"])
def test_a_clip_that_cannot_judge_is_refused_before_any_job(folder, tmp_path, capsys, option):
    found = tensors(folder)
    found.pop("visual_projection.weight")
    save(found, folder / WEIGHTS)
    out = tmp_path / "run"
    assert main([option, str(folder), "--steps", "1", "--limit", "1", "--out", str(out)]) == 2
    error = capsys.readouterr().err
    assert "they lack visual_projection.weight" in error
    assert error.count("\n") == 1
    assert not out.exists()


@pytest.mark.parametrize("settings", [{"do_rescale": False}, {"rescale_factor": 1.0}, {"rescale_factor": 1 / 255**2}])
def test_pictures_that_a_network_would_see_in_other_numbers_than_it_knows(folder, settings):
    (file,) = [folder / name for name in PICTURES if (folder / name).is_file()]
    said = json.loads(file.read_text())
    said.get("image_processor", said).update(settings)
    file.write_text(json.dumps(said))
    refused(folder, "settings of pictures scale them wrongly")
