"""phi: low-rank adapters and a camera beside the prior's own weights, which stay as they are."""

import copy
import os

import pytest
import torch
from safetensors.torch import load_file, save_file

import files
from errors import UserError
from methods.sds import SDS
from priors import stable_diffusion
from priors.analytic import GaussianPrior
from priors.student import AffineStudent, LoRAStudent, make_student
from priors.text import make_text
from state import flatten, unflatten
from tests.helpers import cameras_at, views_of
from tests.tiny import PROMPT, write_prior

KINDS = ["epsilon", "v_prediction"]


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    return {kind: write_prior(tmp_path_factory.mktemp(kind), kind) for kind in KINDS}


def batch(prior, n: int = 2):
    rng = torch.Generator().manual_seed(0)
    x0 = torch.randn(n, *prior.latent_shape, generator=rng)
    return x0, prior.embed([PROMPT] * n), torch.randn(n, 4, 4, generator=rng)


def learn(student, updates: int = 2, seed: int = 1, **kwargs):
    x0, text, camera = batch(student.prior)
    rng = torch.Generator().manual_seed(seed)
    return [student.update(x0, text, camera, rng, **kwargs) for _ in range(updates)]


def spread(student) -> None:
    rng = torch.Generator().manual_seed(3)
    for p in student.parameters.values():
        p.data += 0.1 * torch.randn(p.shape, generator=rng)


@pytest.mark.parametrize("kind", KINDS)
def test_what_other_methods_see_is_what_it_was(kind, folders):
    """Bit by bit, after phi has been made, called and trained; and the U-Net knows of no adapter."""
    prior = stable_diffusion.load(folders[kind])
    x0, _, camera = batch(prior)
    text = make_text(prior, PROMPT)
    weights = {name: p.clone() for name, p in prior.unet.state_dict().items()}

    def pull():
        return SDS(scale=7.5).gradient(views_of(x0, text, cameras_at([0.0, 90.0]), seed=5), prior, None).latent

    before = pull()
    student = make_student(prior, lr=0.1)
    learn(student)
    student.eps(x0, torch.tensor([5, 500]), prior.embed([PROMPT] * 2), camera)
    assert torch.equal(before, pull())
    after = prior.unet.state_dict()
    assert after.keys() == weights.keys()
    assert all(torch.equal(after[name], weights[name]) for name in weights)
    assert prior.unet.class_embedding is None
    assert not any(p.requires_grad for p in prior.unet.parameters())


def test_phi_has_the_prior_s_weights_in_memory_once(folders):
    prior = stable_diffusion.load(folders["epsilon"])
    student = make_student(prior)
    own = {p.data_ptr() for p in student.parameters.values()}
    base = {p.data_ptr() for p in student.unet.parameters()} - own
    assert base == {p.data_ptr() for p in prior.unet.parameters()}


def test_adapters_are_on_every_projection_of_every_attention(folders):
    prior = stable_diffusion.load(folders["epsilon"])
    attentions = [n for n, m in prior.unet.named_modules() if type(m).__name__ == "Attention"]
    expected = {f"{n}.{p}" for n in attentions for p in ("to_q", "to_k", "to_v", "to_out.0")}
    student = make_student(prior, rank=3)
    adapted = {n.split(".lora_A")[0] for n in student.parameters if ".lora_A." in n}
    assert adapted == expected
    assert all(p.shape[0] == 3 for n, p in student.parameters.items() if ".lora_A." in n)
    camera = {n: tuple(p.shape) for n, p in student.parameters.items() if n.startswith("class_embedding")}
    width = prior.unet.time_embedding.linear_2.out_features
    assert camera == {
        "class_embedding.linear_1.weight": (width, 16),
        "class_embedding.linear_1.bias": (width,),
        "class_embedding.linear_2.weight": (width, width),
        "class_embedding.linear_2.bias": (width,),
    }


def test_adapters_everywhere_are_on_the_convolutions_of_every_residual_block_too(folders):
    prior = stable_diffusion.load(folders["epsilon"])
    blocks = [n for n, m in prior.unet.named_modules() if type(m).__name__ == "ResnetBlock2D"]
    few, many = (
        {n.split(".lora_A")[0] for n in make_student(prior, adapt=adapt).parameters if ".lora_A." in n}
        for adapt in ("attention", "everywhere")
    )
    assert many - few == {f"{n}.{p}" for n in blocks for p in ("conv1", "conv2")}
    with pytest.raises(UserError, match="attention or everywhere"):
        make_student(prior, adapt="nowhere")


@pytest.mark.parametrize("kind", KINDS)
def test_eps_whatever_phi_predicts(kind, folders):
    """At the start eps_phi is the prior's; later it differs, and by camera."""
    prior = stable_diffusion.load(folders[kind])
    x0, text, camera = batch(prior)
    t, student = torch.tensor([5, 900]), make_student(prior)
    assert torch.equal(student.eps(x0, t, text, camera), prior.eps(x0, t, text))
    spread(student)
    moved = student.eps(x0, t, text, camera)
    assert not torch.allclose(moved, prior.eps(x0, t, text))
    assert not torch.allclose(moved, student.eps(x0, t, text, torch.zeros_like(camera)))
    assert not moved.requires_grad


@pytest.mark.parametrize("kind", KINDS)
def test_the_loss_is_the_mean_square_error_of_noise_or_velocity(kind, folders):
    prior = stable_diffusion.load(folders[kind])
    student, (x0, text, _) = make_student(prior), batch(prior)
    (log,) = learn(student, 1, drop=0.0)
    rng = torch.Generator().manual_seed(1)
    t, eps = torch.randint(0, 1000, (2,), generator=rng), torch.randn(x0.shape, generator=rng)
    a, sigma = (c.float().view(-1, 1, 1, 1) for c in (prior.schedule.a(t), prior.schedule.sigma(t)))
    x_t = a * x0 + sigma * eps
    out = prior.unet(x_t, t, encoder_hidden_states=text).sample
    target = eps if kind == "epsilon" else a * eps - sigma * x0
    assert log["phi_loss"] == pytest.approx((out - target).square().mean().item(), rel=1e-5)
    assert log["phi_over_frozen"] == pytest.approx(1, rel=1e-5)  # before the first step both are one network


def test_the_camera_is_left_out_at_random(folders):
    """Without cameras their weights get no gradient; biases do."""
    prior = stable_diffusion.load(folders["epsilon"])
    for drop, some in ((0.0, True), (1.0, False)):
        student = make_student(prior)
        spread(student)
        learn(student, 1, drop=drop)
        grads = {n: p.grad.abs().max() > 0 for n, p in student.parameters.items() if n.startswith("class_embedding")}
        assert grads["class_embedding.linear_1.weight"] == some
        assert grads["class_embedding.linear_1.bias"]


@pytest.mark.parametrize("kind", [*KINDS, "gaussian"])
def test_training_goes_on_from_a_state_bit_by_bit(kind, folders):
    prior = stable_diffusion.load(folders[kind]) if kind in folders else GaussianPrior(torch.ones(3, 4, 4), 0.5)
    text = prior.embed(["" if kind == "gaussian" else PROMPT])
    x0, camera = torch.ones(1, *prior.latent_shape), torch.eye(4)[None]

    def update(student, rng, n):
        return [student.update(x0, text, camera, rng) for _ in range(n)]

    rng = torch.Generator().manual_seed(0)
    whole = make_student(prior, lr=0.01)
    logs = update(whole, rng, 9)
    rng = torch.Generator().manual_seed(0)
    first, second = make_student(prior, lr=0.01), make_student(prior, lr=0.01)
    update(first, rng, 4)
    second.load_state_dict(unflatten(*copy.deepcopy(flatten(first.state_dict()))))
    assert update(second, rng, 5) == logs[4:]
    (a, facts), (b, others) = flatten(whole.state_dict()), flatten(second.state_dict())
    assert facts == others
    assert a.keys() == b.keys()
    assert all(torch.equal(a[name], b[name]) for name in a)


def test_phi_learns_in_single_precision_beside_a_half_precision_prior(folders):
    """On a GPU the prior's network may be in half precision; in bfloat16 here, which a CPU can multiply."""
    prior = stable_diffusion.load(folders["epsilon"], dtype=torch.bfloat16)
    student = make_student(prior, lr=0.01)
    assert {p.dtype for p in student.parameters.values()} == {torch.float32}
    learn(student)
    assert all(p.isfinite().all() for p in student.parameters.values())
    assert student.state_dict()["phi"]["class_embedding.linear_2.weight"].abs().max() > 0
    x0, text, camera = batch(prior)
    assert student.eps(x0, torch.tensor([5, 500]), text, camera).dtype == x0.dtype


def test_phi_may_start_as_another_model(folders):
    prior = stable_diffusion.load(folders["epsilon"])
    student, other = make_student(prior, str(folders["v_prediction"])), stable_diffusion.load(folders["v_prediction"])
    x0, text, camera = batch(prior)
    t = torch.tensor([5, 900])
    assert isinstance(student, LoRAStudent)
    assert student.predicts == "v_prediction"
    assert torch.equal(student.eps(x0, t, text, camera), other.eps(x0, t, text))
    assert learn(student, 1)[0]["phi_over_frozen"] > 0


def test_another_model_is_read_once_for_all_jobs_and_again_when_its_folder_changes(tmp_path, monkeypatch):
    """Neither its weights nor their checksum are read twice; one model is kept, the last."""
    first, second = (write_prior(tmp_path / kind, kind) for kind in KINDS)
    prior, loads, read = stable_diffusion.load(first), [], []
    load, hashed = stable_diffusion.load, files.digest
    monkeypatch.setattr(stable_diffusion, "load", lambda *a: loads.append(a[0]) or load(*a))
    monkeypatch.setattr(files, "digest", lambda *a, **k: read.append(a) or hashed(*a, **k))
    students = [make_student(prior, str(second)) for _ in range(3)]
    assert (len(loads), len(read)) == (1, 1)
    own = [{p.data_ptr() for p in student.parameters.values()} for student in students]
    assert not own[0] & own[1]  # what learns is each job's own
    make_student(prior, str(first))
    make_student(prior, str(second))
    assert len(loads) == 3
    assert len(read) == 1  # the prior's own folder was read when it was loaded
    unet = second / "unet" / "diffusion_pytorch_model.safetensors"
    facts = unet.stat()
    weights = load_file(unet)
    save_file({name: tensor + 1 for name, tensor in weights.items()}, unet)
    os.utime(unet, ns=(facts.st_atime_ns, facts.st_mtime_ns))  # of the same size and time
    moved = make_student(prior, str(second))
    assert (len(loads), len(read)) == (4, 2)
    assert not torch.equal(moved.unet.conv_in.weight, students[0].unet.conv_in.weight)


def test_models_that_do_not_fit_are_named(folders, tmp_path):
    with pytest.raises(UserError, match="leave the folder out"):
        make_student(GaussianPrior(torch.ones(3, 4, 4), 0.5), str(folders["epsilon"]))
    with pytest.raises(UserError, match="nowhere"):
        make_student(stable_diffusion.load(folders["epsilon"]), str(tmp_path / "nowhere"))
    prior = stable_diffusion.load(folders["epsilon"])
    prior.unet.register_to_config(cross_attention_dim=24)
    with pytest.raises(UserError, match="cross_attention_dim"):
        make_student(prior, str(folders["v_prediction"]))


def test_priors_without_a_unet_have_a_student_too():
    prior = GaussianPrior(torch.ones(3, 4, 4), 0.5)
    student = make_student(prior)
    assert isinstance(student, AffineStudent)
    x = torch.randn(2, 3, 4, 4, dtype=torch.float64)
    t, text, camera = torch.tensor([5, 900]), prior.embed(["", ""]), torch.eye(4).repeat(2, 1, 1)
    assert torch.equal(student.eps(x, t, text, camera), prior.eps(x, t, text))
    spread(student)
    assert not torch.allclose(student.eps(x, t, text, camera), student.eps(x, t, text, 2 * camera))


def test_making_a_student_draws_no_global_random_number(folders):
    prior, state = stable_diffusion.load(folders["epsilon"]), torch.get_rng_state()
    first, second = make_student(prior), make_student(prior)
    assert torch.equal(state, torch.get_rng_state())
    assert all(torch.equal(p, second.parameters[n]) for n, p in first.parameters.items())
