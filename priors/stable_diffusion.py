"""Stable Diffusion as a prior: any folder in diffusers' format (1.5, 2.1, the world's), or file of the original layout,
read once, at the edge.

Alphabet: image (B,3,H,W) in [0, 1]; x = s z latents (B,C,h,w), z a sample of the VAE's posterior of 2 image - 1 and
s its scaling factor; eps the predicted noise whatever the U-Net was trained to predict.

diffusers and transformers are imported where models are built: the command line reads checksums without them.
"""

from __future__ import annotations

import hashlib
import warnings
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.nn import functional

from errors import UserError, first_line, is_out_of_memory
from files import read_json
from priors import adapter, single_file, tried
from priors import folder as folders
from priors.base import Prior
from priors.schedule import Schedule, randn_like
from priors.traced import Traced

BETAS = ("beta_start", "beta_end", "beta_schedule")  # what a schedule is made of: the libraries' defaults are no one's
LEFT = ("cuda",)  # devices that the text encoder is on only while it embeds: it has 1.4 GB, and a job asks once
SINGULAR = 1e-9  # abar at which nothing of x0 is left to tell from eps
FEWEST, MOST = 20, 100_000  # timesteps, of which every rule takes parts; all betas are in memory
LARGEST = 1024  # side of latents: an image of 8192 pixels
SHORTEST = 8  # tokens that a prior must read
VIEW_WORDS = ("coarse", "sectors")


class StableDiffusion(Prior):
    """A U-Net over the latents of a VAE, conditioned by CLIP's text encoder.

    The U-Net computes in the dtype of its weights. The VAE stays in float32: gradients of 1e-5 pass back through it,
    and float16 would lose them. `tokenize` takes a list of prompts to ids (B,L).
    """

    def __init__(self, unet, vae, text_encoder, tokenize, schedule: Schedule, prediction: str, checksum: str):
        if prediction not in ("epsilon", "v_prediction"):
            raise UserError(f"The prior predicts {prediction!r}; only epsilon and v_prediction are known.")
        self.unet, self.vae, self.text_encoder = (_frozen(m) for m in (unet, vae, text_encoder))
        self.tokenize, self.schedule, self.prediction, self.checksum = (
            tokenize,
            schedule,
            prediction,
            checksum,
        )
        self._traced = Traced(self.unet)
        self._dtypes = unet.dtype, vae.dtype  # asked of diffusers, it looks through all modules: 1 ms a call
        if unet.device.type == "cuda":  # at 512^2 the encoder's graph is several GB; on a CPU time is what lacks
            self.vae.enable_gradient_checkpointing()
        size = _side(unet)
        self.latent_shape = (unet.config.in_channels, size, size)
        self.image_size = size * 2 ** (len(vae.config.block_out_channels) - 1)
        self._embedded: dict[str, Tensor] = {}

    @property
    def device(self) -> torch.device:
        return self.unet.device

    def encode(self, image: Float[Tensor, "B 3 H W"], rng: torch.Generator) -> Float[Tensor, "B C h w"]:
        if image.shape[-2:] != (self.image_size, self.image_size):
            image = functional.interpolate(image, (self.image_size,) * 2, mode="bilinear", align_corners=False)
        posterior = self.vae.encode(2 * image.to(self._dtypes[1]) - 1).latent_dist
        z = posterior.mean + posterior.std * randn_like(posterior.mean, rng)
        return (self.vae.config.scaling_factor * z).contiguous().to(image.dtype)

    @torch.no_grad()
    def decode(self, latent: Float[Tensor, "B C h w"]) -> Float[Tensor, "B 3 H W"]:
        image = self.vae.decode(latent.to(self._dtypes[1]) / self.vae.config.scaling_factor).sample
        return (image / 2 + 0.5).clamp(0, 1).contiguous().to(latent.dtype)

    @torch.no_grad()
    def embed(self, prompts: list[str]) -> Float[Tensor, "B L D"]:
        if new := [p for p in dict.fromkeys(prompts) if p not in self._embedded]:
            self.text_encoder.to(self.device)
            for prompt in new:
                ids = self.tokenize([prompt]).to(self.device)
                self._embedded[prompt] = self.text_encoder(ids).last_hidden_state
            if self.device.type in LEFT:
                self.text_encoder.to("cpu")
        return torch.cat([self._embedded[prompt] for prompt in prompts])

    def untraced(self) -> AbstractContextManager[None]:
        return self._traced.untraced()

    def network(
        self, x_t: Float[Tensor, "B C h w"], t: Int[Tensor, " B"], text: Float[Tensor, "B L D"]
    ) -> Float[Tensor, "B C h w"]:
        """eps, or a v + sigma x_t where the U-Net predicts v. Timesteps stay integers: bf16 cannot count to 1000.
        A negative one (SDI's official first step) reaches the time embedding as it is."""
        dtype, t = self._dtypes[0], t.to(x_t.device)
        out = self._traced(x_t.to(dtype), t, text.to(dtype)).contiguous().to(x_t.dtype)
        return out if self.prediction == "epsilon" else self.schedule.eps_of_v(x_t, out, t)


def load(
    path: str | Path,
    device: torch.device | str = "cpu",
    dtype: torch.dtype = torch.float32,
    lora: str | Path | None = None,
    settings: Path | None = None,
) -> Prior:
    """The prior in a Stable-Diffusion-format folder, or in a file of the original layout, which takes its settings
    beside it, else from the folder `settings`. `dtype` is the U-Net's, `lora` the file of an adapter that is merged
    into it. Reads safetensors only.

    Raises UserError where the folder, or a weight in it, is missing or damaged, or where what it makes of a picture, a
    text and noise cannot be right.
    """
    if single_file.is_single(path):
        folder = single_file.settings_of(file := single_file.checked(path), settings)
    else:
        folder, file = folders.checked(path), None
    from diffusers import AutoencoderKL, UNet2DConditionModel
    from transformers import CLIPTextModel

    try:
        found = single_file.tensors(file) if file else {}
        unet = _weights(UNet2DConditionModel, folder / "unet", dtype, file, found)
        vae = _weights(AutoencoderKL, folder / "vae", torch.float32, file, found)
        text_encoder = _weights(CLIPTextModel, folder / "text_encoder", torch.float32, file, found)
        tokenize = _tokenizer(folder / "tokenizer", text_encoder.config)
        schedule, prediction = _schedule(folder / "scheduler/scheduler_config.json")
        if file:
            single_file.refuse_other_noise(file, found, schedule.abar, folder)
    except UserError:
        raise
    except Exception as error:  # each library has its own: one damaged file, a dozen exception types
        if is_out_of_memory(error):
            raise
        raise UserError(f"The prior in {path} cannot be read ({first_line(error)}); fetch the folder again.") from error
    _refuse_strangers(unet, vae, text_encoder)
    if lora:
        adapter.merge(lora, unet, text_encoder)
    own = checksum(path, lora, settings)
    prior = StableDiffusion(
        unet.to(device), vae.to(device), text_encoder.to(device), tokenize, schedule, prediction, own
    )
    prior.view_words, prior.text_share = _told(folder / "views.json")
    tried.refuse_unsound(prior, f"The prior in {path}" + (f" with {lora}" if lora else ""))
    return prior


def _told(file: Path) -> tuple[str, float]:
    """The view words that the text adapter was trained with, and the share of a text that the prior says, as the
    world's priors state them."""
    said = read_json(file) if file.exists() else {}
    words, share = said.get("view_words", VIEW_WORDS[0]), said.get("text_share", 1.0)
    if words not in VIEW_WORDS:
        raise UserError(f"The file {file} has view_words {words!r}: they are {' or '.join(VIEW_WORDS)}.")
    if isinstance(share, bool) or not isinstance(share, int | float) or not 0 < share <= 1:
        raise UserError(f"The file {file} has text_share {share!r}: it is a number above 0, and at most 1.")
    return words, float(share)


def checksum(path: str | Path, lora: str | Path | None = None, settings: Path | None = None) -> str:
    """sha256, as hex, over the names and contents of the files that a prior is read from, and over its adapter's.

    Raises UserError where the folder or the file is no prior, or the adapter no file."""
    own = single_file.checksum(path, settings) if single_file.is_single(path) else folders.checksum(path)
    return own if lora is None else hashlib.sha256(f"{own} {adapter.checksum(lora)}".encode()).hexdigest()


# Stable Diffusion 2.1's architectures as its folder states them: U-Net 866 M parameters, VAE 84 M, text encoder 340 M
SD21_UNET: dict[str, Any] = {
    "sample_size": 64,
    "in_channels": 4,
    "out_channels": 4,
    "block_out_channels": (320, 640, 1280, 1280),
    "layers_per_block": 2,
    "attention_head_dim": (5, 10, 20, 20),
    "cross_attention_dim": 1024,
    "use_linear_projection": True,
}
SD21_VAE: dict[str, Any] = {
    "sample_size": 512,
    "latent_channels": 4,
    "block_out_channels": (128, 256, 512, 512),
    "layers_per_block": 2,
    "down_block_types": ("DownEncoderBlock2D",) * 4,
    "up_block_types": ("UpDecoderBlock2D",) * 4,
    "scaling_factor": 0.18215,
}
TOKENS, START, END = 77, 49406, 49407  # a text's length, and the ids at its ends
SD21_TEXT: dict[str, Any] = {
    "hidden_size": 1024,
    "intermediate_size": 4096,
    "num_hidden_layers": 23,
    "num_attention_heads": 16,
    "hidden_act": "gelu",
    "projection_dim": 512,
    "vocab_size": 49408,
    "max_position_embeddings": TOKENS,
    "bos_token_id": START,
    "eos_token_id": END,
    "pad_token_id": 0,
}
RANDOM = "random:sd21"


def random_sd21(device: torch.device | str = "cpu", dtype: torch.dtype = torch.float32, seed: int = 0) -> Prior:
    """Stable Diffusion 2.1's architectures with random weights: its cost, without its weights.

    Prompts are hashed into its vocabulary, word by word, since there is no tokenizer to read."""
    from diffusers import AutoencoderKL, UNet2DConditionModel
    from transformers import CLIPTextConfig, CLIPTextModel

    with torch.device(device), torch.random.fork_rng(enabled=str(device) != "meta"):
        torch.manual_seed(seed)
        unet = _cast(UNet2DConditionModel(**SD21_UNET), dtype)
        vae = AutoencoderKL(**SD21_VAE)
        text_encoder = CLIPTextModel(CLIPTextConfig(**SD21_TEXT))
    return StableDiffusion(unet, vae, text_encoder, hashed_ids, Schedule.scaled_linear(), "epsilon", RANDOM)


def hashed_ids(prompts: list[str]) -> Int[Tensor, "B L"]:
    """Token ids (B,77) without a vocabulary: each word is its hash, between Stable Diffusion's start and end."""
    ids = torch.full((len(prompts), TOKENS), END)
    ids[:, 0] = START
    for row, prompt in zip(ids, prompts, strict=True):
        for k, word in enumerate(prompt.lower().split()[: TOKENS - 2], start=1):
            row[k] = int.from_bytes(hashlib.sha256(word.encode()).digest()[:4], "big") % START
    return ids


def _weights(model: Any, folder: Path, dtype: torch.dtype, file: Path | None, found: dict[str, Tensor]) -> Any:
    """A model and all of its weights, in the variant that is there, or of a file the tensors found in it."""
    folders.refuse_other_class(folder)
    if file:
        cast = _cast(single_file.built(model, folder, file, found), dtype)
        folders.refuse_unsound(file, cast)
        return cast
    variant, files = folders.weights(folder)
    folders.refuse_quantised(files)
    with folders.without_marks(folder) as read:
        built, info = model.from_pretrained(
            read, variant=variant or None, use_safetensors=True, local_files_only=True, output_loading_info=True,
            ignore_mismatched_sizes=True,  # they are named below
        )  # fmt: skip
    folders.refuse_parts(folder, info)
    cast = _cast(built, dtype)
    folders.refuse_unsound(folder, cast)
    return cast


def _tokenizer(folder: Path, encoder: Any) -> Callable[[list[str]], Tensor]:
    """Prompts to ids (B,L), L at most what the text encoder reads. A prompt that does not fit is warned of."""
    from transformers import CLIPTokenizer

    folders.refuse_lost_words(folder)
    with folders.without_marks(folder) as read:
        tokenizer = CLIPTokenizer.from_pretrained(read, local_files_only=True)
    length = min(tokenizer.model_max_length, encoder.max_position_embeddings)

    def tokenize(prompts: list[str]) -> Tensor:
        for prompt in prompts:
            if len(tokenizer(prompt).input_ids) > length:
                warnings.warn(f"The prior reads only {length} tokens of {prompt!r}.", stacklevel=2)
        batch = tokenizer(prompts, padding="max_length", max_length=length, truncation=True, return_tensors="pt")
        return batch.input_ids

    folders.refuse_other_words(folder, tokenizer, encoder.vocab_size)
    if length < SHORTEST:
        raise UserError(f"The prior reads {length} tokens of a text, start and end among them: no prompt fits in.")
    return tokenize


def _schedule(file: Path) -> tuple[Schedule, str]:
    """The noise schedule that a scheduler's configuration states, and what the network predicts; which sampler it is
    made for does not matter, as long as Stable Diffusion can be sampled by it."""
    from diffusers import DDIMScheduler, LCMScheduler, TCDScheduler
    from diffusers.schedulers import KarrasDiffusionSchedulers

    config = read_json(file)
    known = {kind.name for kind in KarrasDiffusionSchedulers} - {"EDMEulerScheduler"}
    known |= {kind.__name__ for kind in (DDIMScheduler, LCMScheduler, TCDScheduler)}
    name = config.get("_class_name", DDIMScheduler.__name__)
    if name not in known or config.get("use_flow_sigmas"):
        flow = " with use_flow_sigmas" if name in known else ""
        raise UserError(f"The prior's scheduler, {name}{flow} in {file}, is not one of Stable Diffusion's.")
    missing = [key for key in BETAS if config.get(key) is None]
    if missing and config.get("trained_betas") is None:
        raise UserError(f"The prior's noise is not known: {file} lacks {', '.join(missing)}.")
    stated = config.get("num_train_timesteps")
    if isinstance(stated, int | float) and stated > MOST:
        raise UserError(f"The prior has {stated} timesteps ({file}): Stable Diffusion has 1000, and {MOST} are read.")
    try:
        noise = DDIMScheduler.from_config(config)
        schedule = Schedule.from_betas(noise.betas)
    except Exception as error:  # numbers that are none, names that nobody knows: each its own exception
        raise UserError(f"The prior's noise is not known: {file} is wrong ({first_line(error)}).") from error
    if len(schedule) != noise.config.num_train_timesteps:
        stated = noise.config.num_train_timesteps
        raise UserError(f"The prior's noise is not known: {file} has {len(schedule)} betas for {stated} timesteps.")
    if not (schedule.abar > SINGULAR).all():
        cause = "rescale_betas_zero_snr" if config.get("rescale_betas_zero_snr") else "its betas"
        raise UserError(f"The prior's last timesteps are noise alone ({cause} in {file}): no rule can divide by them.")
    if not ((schedule.abar < 1) & (noise.betas > 0)).all():
        raise UserError(f"The prior's noise does not grow with time: a beta in {file} is not above 0.")
    if len(schedule) < FEWEST:
        raise UserError(f"The prior has {len(schedule)} timesteps ({file}): the rules need {FEWEST}.")
    return schedule, noise.config.prediction_type


def _side(unet: Any) -> int:
    """Of its square latents, in their pixels."""
    size = unet.config.sample_size
    sides = size if isinstance(size, list | tuple) else [size]
    if len({*sides}) != 1 or type(sides[0]) is not int or not 1 <= sides[0] <= LARGEST:
        raise UserError(
            f"The size of the prior's latents is not known: its U-Net's sample_size is {size}, not one number "
            f"from 1 to {LARGEST}."
        )
    return sides[0]


def _refuse_strangers(unet: Any, vae: Any, text_encoder: Any) -> None:
    """Raise UserError where a U-Net asks for more than noise, time and one text, or parts do not fit each other."""
    asked, text = unet.config, text_encoder.config.hidden_size
    extra = {"class_embed_type", "num_class_embeds", "encoder_hid_dim", "encoder_hid_dim_type", "time_cond_proj_dim"}
    extra |= {"addition_embed_type"} if asked.addition_embed_type != "text" else set()
    if found := [f"{name} {asked[name]}" for name in sorted(extra) if asked.get(name) is not None]:
        raise UserError(f"The prior's U-Net is not Stable Diffusion's: it asks for more than one text ({found[0]}).")
    latents = vae.config.latent_channels
    if (asked.in_channels, asked.out_channels) != (latents, latents):
        raise UserError(
            f"The prior's U-Net takes {asked.in_channels} channels and gives {asked.out_channels}, "
            f"where its VAE has {latents}: an inpainting model is no prior."
        )
    wide = asked.cross_attention_dim
    if {*wide} != {text} if isinstance(wide, list | tuple) else wide != text:
        raise UserError(f"The prior's U-Net reads texts of {wide} channels, its text encoder writes {text}.")
    moved = [name for name in ("shift_factor", "latents_mean", "latents_std") if vae.config.get(name)]
    if moved:
        raise UserError(f"The prior's VAE is not Stable Diffusion's: it moves its latents ({moved[0]}).")
    scale = vae.config.scaling_factor
    if isinstance(scale, bool) or not isinstance(scale, int | float) or not scale > 0:
        raise UserError(
            f"The prior's VAE cannot scale its latents by {scale!r}: its scaling_factor is a number above 0."
        )


def _cast(model: Any, dtype: torch.dtype) -> Any:
    """All weights in the dtype: diffusers' own `to` warns where there is nothing to warn of."""
    return torch.nn.Module.to(model, dtype)


def _frozen(model: Any) -> Any:
    """For inference: no parameter learns. Convolutions prefer channels last (0.66 against 0.86 s a step on a CPU)."""
    return model.eval().requires_grad_(False).to(memory_format=torch.channels_last)
