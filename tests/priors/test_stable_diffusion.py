import json
import shutil

import pytest
import torch

from errors import UserError
from priors import stable_diffusion
from priors.guidance import guided_eps
from priors.schedule import Schedule
from priors.text import make_text
from tests.helpers import cameras_at
from tests.tiny import PROMPT, write_prior


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return write_prior(tmp_path_factory.mktemp("eps"))


@pytest.fixture(scope="module")
def prior(folder):
    return stable_diffusion.load(folder)


def rng(seed=0):
    return torch.Generator().manual_seed(seed)


def test_sizes_come_from_the_configurations(prior):
    assert prior.latent_shape == (4, 8, 8)
    assert prior.image_size == 32
    torch.testing.assert_close(prior.schedule.abar, Schedule.scaled_linear().abar, rtol=1e-5, atol=1e-8)


def test_encode_is_a_scaled_sample_of_the_posterior(prior):
    image = torch.rand(2, 3, 32, 32, generator=rng(1))
    posterior = prior.vae.encode(2 * image - 1).latent_dist
    samples = torch.stack([prior.encode(image, rng(k)) for k in range(200)])
    error = samples.mean(0) - 0.5 * posterior.mean
    assert (error.abs() < 5 * 0.5 * posterior.std / 200**0.5).all()
    torch.testing.assert_close(samples.std(0), 0.5 * posterior.std, rtol=0.35, atol=0)
    assert torch.equal(prior.encode(image, rng(3)), samples[3])


def test_encode_is_differentiable_and_resizes(prior):
    image = torch.rand(1, 3, 20, 20, generator=rng(1), requires_grad=True)
    prior.encode(image, rng()).sum().backward()
    assert prior.encode(image, rng()).shape == (1, 4, 8, 8)
    assert image.grad.abs().sum() > 0


def test_encode_with_its_graph_built_again_has_the_same_gradient_in_less_memory(folder):
    prior, held = stable_diffusion.load(folder), []
    image = torch.rand(1, 3, 32, 32, generator=rng(1), requires_grad=True)

    def gradient():
        held.clear()
        with torch.autograd.graph.saved_tensors_hooks(lambda v: held.append(v.numel()) or v, lambda v: v):
            x0 = prior.encode(image, rng(2))
        (by_image,) = torch.autograd.grad(x0.square().sum(), image)
        return x0, by_image, sum(held)

    x0, whole, much = gradient()
    prior.vae.enable_gradient_checkpointing()  # as on a GPU
    again, pieces, little = gradient()
    assert torch.equal(x0, again)
    torch.testing.assert_close(pieces, whole, rtol=1e-6, atol=0)
    assert little < much / 2


def test_attention_is_torchs_fused_one(prior):
    assert {type(p).__name__ for p in prior.unet.attn_processors.values()} == {"AttnProcessor2_0"}


def test_decode_is_an_image(prior):
    image = prior.decode(5 * torch.randn(2, 4, 8, 8, generator=rng()))
    assert image.shape == (2, 3, 32, 32)
    assert image.min() >= 0
    assert image.max() <= 1


def test_no_parameter_learns(prior):
    models = (prior.unet, prior.vae, prior.text_encoder)
    assert not any(p.requires_grad for m in models for p in m.parameters())
    assert not any(m.training for m in models)


def test_prompts_are_embedded_once_whatever_their_company(prior, monkeypatch):
    alone = prior.embed(["a red ball, front view"])
    together = prior.embed(["", "a red ball, front view"])
    assert torch.equal(alone[0], together[1])
    assert not torch.equal(together[0], together[1])
    monkeypatch.setattr(prior, "tokenize", None)  # a second look at the text would fail
    assert torch.equal(prior.embed(["a red ball, front view"]), alone)


def test_a_prompt_that_does_not_fit_is_said(prior):
    with pytest.warns(UserWarning, match="reads only"):
        prior.embed(["ball " * 200])


def test_eps_counts_calls_and_rows(prior):
    nfe, rows = prior.nfe, prior.rows
    eps = prior.eps(torch.randn(3, 4, 8, 8, generator=rng()), torch.tensor([0, 500, 999]), prior.embed([PROMPT] * 3))
    assert eps.shape == (3, 4, 8, 8)
    assert (prior.nfe - nfe, prior.rows - rows) == (1, 3)


def test_v_prediction_is_converted_to_eps(folder, prior, tmp_path):
    shutil.copytree(folder, tmp_path, dirs_exist_ok=True)
    config = tmp_path / "scheduler/scheduler_config.json"
    config.write_text(json.dumps(json.loads(config.read_text()) | {"prediction_type": "v_prediction"}))
    v_prior = stable_diffusion.load(tmp_path)
    x, t, text = torch.randn(2, 4, 8, 8, generator=rng()), torch.tensor([100, 900]), prior.embed(["", PROMPT])
    abar = prior.schedule.abar[t].float().view(2, 1, 1, 1)
    expected = abar.sqrt() * prior.eps(x, t, text) + (1 - abar).sqrt() * x
    torch.testing.assert_close(v_prior.eps(x, t, text), expected)


def test_half_precision_is_the_networks_alone(folder, prior):
    half = stable_diffusion.load(folder, dtype=torch.bfloat16)
    assert half.unet.dtype == torch.bfloat16
    assert half.vae.dtype == torch.float32
    x, t, text = torch.randn(1, 4, 8, 8, generator=rng()), torch.tensor([500]), prior.embed([PROMPT])
    assert half.eps(x, t, text).dtype == torch.float32
    torch.testing.assert_close(half.eps(x, t, text), prior.eps(x, t, text), rtol=0.1, atol=0.1)


def test_view_words_are_read_from_the_folder(folder, prior, tmp_path):
    shutil.copytree(folder, tmp_path, dirs_exist_ok=True)
    (tmp_path / "views.json").write_text('{"view_words": "sectors"}')
    fine = stable_diffusion.load(tmp_path)
    assert make_text(fine, PROMPT).sectors.shape[0] == 8
    assert make_text(prior, PROMPT).sectors is None
    assert fine.checksum != prior.checksum


def test_the_share_of_a_text_is_read_from_the_folder(folder, prior, tmp_path):
    shutil.copytree(folder, tmp_path, dirs_exist_ok=True)
    (tmp_path / "views.json").write_text('{"text_share": 0.25}')
    quiet = stable_diffusion.load(tmp_path)
    x, t, cameras = torch.randn(1, 4, 8, 8, generator=rng()), torch.tensor([500]), cameras_at([0.0])
    text = make_text(prior, PROMPT)
    said = guided_eps(quiet, x, t, text, cameras, 8.0)
    torch.testing.assert_close(said, guided_eps(prior, x, t, text, cameras, 2.0))
    assert not torch.allclose(said, guided_eps(prior, x, t, text, cameras, 8.0), atol=1e-3)
    assert quiet.checksum != prior.checksum


def test_the_checksum_changes_with_one_bit_of_the_weights(folder, prior, tmp_path):
    shutil.copytree(folder, tmp_path, dirs_exist_ok=True)
    assert stable_diffusion.checksum(tmp_path) == prior.checksum
    weights = tmp_path / "unet/diffusion_pytorch_model.safetensors"
    data = bytearray(weights.read_bytes())
    data[-1] ^= 1
    weights.write_bytes(data)
    assert stable_diffusion.checksum(tmp_path) != prior.checksum


def test_missing_and_damaged_folders_are_one_sentence(folder, tmp_path):
    with pytest.raises(UserError, match="no prior at"):
        stable_diffusion.load(tmp_path / "nowhere")
    with pytest.raises(UserError, match="lacks unet"):
        stable_diffusion.load(tmp_path)
    shutil.copytree(folder, tmp_path, dirs_exist_ok=True)
    weights = tmp_path / "vae/diffusion_pytorch_model.safetensors"
    weights.write_bytes(weights.read_bytes()[:1000])
    with pytest.raises(UserError, match="cannot be read"):
        stable_diffusion.load(tmp_path)
    weights.rename(weights.with_suffix(".bin"))
    with pytest.raises(UserError, match="no weights"):
        stable_diffusion.load(tmp_path)


def test_weights_that_lack_a_tensor_are_refused(folder, tmp_path):
    from safetensors.torch import load_file, save_file

    shutil.copytree(folder, tmp_path, dirs_exist_ok=True)
    weights = tmp_path / "unet/diffusion_pytorch_model.safetensors"
    tensors = load_file(weights)
    del tensors["conv_out.weight"]
    save_file(tensors, weights, metadata={"format": "pt"})
    with pytest.raises(UserError, match=r"conv_out|cannot be read"):
        stable_diffusion.load(tmp_path)


def test_random_sd21_has_its_size():
    prior = stable_diffusion.random_sd21("meta")
    unet, vae, text = (sum(p.numel() for p in m.parameters()) for m in (prior.unet, prior.vae, prior.text_encoder))
    assert (unet, vae, text) == (865_910_724, 83_653_863, 340_387_840)  # as in the published folder
    assert prior.latent_shape == (4, 64, 64)
    assert prior.image_size == 512


def test_hashed_ids_tell_prompts_apart():
    ids = stable_diffusion.hashed_ids(["a ball", "a bell", "a ball"])
    assert ids.shape == (3, 77)
    assert (ids[:, 0] == 49406).all()
    assert (ids[:, 3:] == 49407).all()
    assert torch.equal(ids[0], ids[2])
    assert not torch.equal(ids[0], ids[1])


def test_the_text_encoder_leaves_the_card_after_embedding(tmp_path, monkeypatch):
    prior = stable_diffusion.load(write_prior(tmp_path))
    before, moves = prior.embed(["a red ball"]), []
    monkeypatch.setattr(stable_diffusion, "LEFT", (prior.device.type,))
    monkeypatch.setattr(prior.text_encoder, "to", lambda place: moves.append(str(place)))
    monkeypatch.setattr(prior.text_encoder, "forward", lambda ids, call=prior.text_encoder.forward: (
        moves.append("embeds"), call(ids))[1])  # fmt: skip
    prior.embed(["a red ball", "a ball"])
    assert moves == [str(prior.device), "embeds", "cpu"]
    moves.clear()
    assert torch.equal(prior.embed(["a red ball"]), before)  # kept: nothing moves
    assert not moves
