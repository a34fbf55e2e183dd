"""The architectures of the world's models, in the formats of the large ones, and where their weights lie.

*tiny SD* is a Stable Diffusion folder: `StableDiffusionPipeline.from_pretrained` opens it. Its U-Net takes the text
twice: by cross-attention at the lowest resolution, and pooled into the time embedding (diffusers' `addition_embed_type
= "text"`), which teaches pose and kind with few samples. *tiny CLIP* is a transformers `CLIPModel` with its processor;
a second one, smaller and of another seed, checks R-Precision. *tiny reward* has ImageReward's form.
"""

from __future__ import annotations

import json
import string
from pathlib import Path

import torch
from diffusers import AutoencoderKL, DDIMScheduler, StableDiffusionPipeline, UNet2DConditionModel
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, trainers
from transformers import (
    BertTokenizer,
    CLIPConfig,
    CLIPImageProcessorPil,
    CLIPModel,
    CLIPProcessor,
    CLIPTextConfig,
    CLIPTextModel,
    CLIPTokenizer,
    CLIPVisionConfig,
)

from eval.image_reward import ImageReward

MODELS = Path(__file__).parent / "models"
TINY_SD, TINY_CLIP, TINY_CLIP_2 = MODELS / "tiny-sd", MODELS / "tiny-clip", MODELS / "tiny-clip-2"
TINY_REWARD = MODELS / "tiny-reward"
TOKENS = 32  # of a prompt, at most; longer ones are truncated
TEXT_SHARE = 1 / 3  # of what its network says of a text that a prior says: that was told the truth, as the web never is
WIDTH = 96  # channels of a text embedding


def vae() -> AutoencoderKL:
    """f = 4, 8 latent channels: 64x64 images become 8x16x16. One group a norm: narrow groups train badly."""
    return AutoencoderKL(
        down_block_types=("DownEncoderBlock2D",) * 3,
        up_block_types=("UpDecoderBlock2D",) * 3,
        block_out_channels=(16, 32, 64),
        layers_per_block=1,
        latent_channels=8,
        norm_num_groups=1,
        sample_size=64,
        scaling_factor=1.0,  # whitening is folded into quant_conv
        mid_block_add_attention=False,
    )


def shipped_vae(device: str = "cpu") -> AutoencoderKL:
    """The shipped autoencoder, in single precision."""
    return AutoencoderKL.from_pretrained(TINY_SD / "vae", torch_dtype=torch.float32).eval().to(device)


def unet() -> UNet2DConditionModel:
    """v-prediction over 8x16x16 latents; convolutions above, attention at 4x4."""
    return UNet2DConditionModel(
        sample_size=16,
        in_channels=8,
        out_channels=8,
        block_out_channels=(64, 128, 128),
        down_block_types=("DownBlock2D", "DownBlock2D", "CrossAttnDownBlock2D"),
        up_block_types=("CrossAttnUpBlock2D", "UpBlock2D", "UpBlock2D"),
        layers_per_block=1,
        cross_attention_dim=WIDTH,
        attention_head_dim=4,
        norm_num_groups=8,
        resnet_time_scale_shift="scale_shift",
        addition_embed_type="text",
        addition_embed_type_num_heads=4,
    )


def scheduler() -> DDIMScheduler:
    """Stable Diffusion's noise schedule."""
    return DDIMScheduler(
        beta_start=0.00085,
        beta_end=0.012,
        beta_schedule="scaled_linear",
        clip_sample=False,
        set_alpha_to_one=False,
        steps_offset=1,
        prediction_type="v_prediction",
    )


def tokenizer(texts: list[str]) -> CLIPTokenizer:
    """A byte-level BPE in CLIP's manner, trained on the world's texts; any other text still has tokens."""
    bpe = Tokenizer(models.BPE(unk_token="<|endoftext|>", end_of_word_suffix="</w>", continuing_subword_prefix=""))
    bpe.normalizer = normalizers.Sequence([normalizers.NFC(), normalizers.Lowercase()])
    bpe.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.WhitespaceSplit(),
            pre_tokenizers.Punctuation(),
            pre_tokenizers.ByteLevel(add_prefix_space=False),
        ]
    )
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    trainer = trainers.BpeTrainer(
        vocab_size=1024,
        special_tokens=["<|startoftext|>", "<|endoftext|>", *(a + "</w>" for a in alphabet)],
        initial_alphabet=alphabet,
        end_of_word_suffix="</w>",
        show_progress=False,
    )
    bpe.train_from_iterator(texts, trainer)
    trained = json.loads(bpe.to_str())["model"]
    merges = [tuple(m) if isinstance(m, list) else tuple(m.split(" ")) for m in trained["merges"]]
    return CLIPTokenizer(vocab=trained["vocab"], merges=merges, model_max_length=TOKENS)


def text_encoder(words: CLIPTokenizer) -> CLIPTextModel:
    return CLIPTextModel(CLIPTextConfig(**_text_sizes(words, WIDTH, 2)))


def clip(words: CLIPTokenizer, width: int = 128, layers: int = 4) -> CLIPModel:
    """Images in patches of 8x8, `layers` of `width` channels; 2 layers for texts."""
    return CLIPModel(
        CLIPConfig(
            text_config=_text_sizes(words, width, 2),
            vision_config=CLIPVisionConfig(
                hidden_size=width,
                intermediate_size=4 * width,
                num_hidden_layers=layers,
                num_attention_heads=4,
                image_size=64,
                patch_size=8,
            ).to_dict(),
            projection_dim=width,
        )
    )


def clip_processor(words: CLIPTokenizer) -> CLIPProcessor:
    pictures = CLIPImageProcessorPil(
        size={"shortest_edge": 64},
        crop_size={"height": 64, "width": 64},
        image_mean=[0.5] * 3,
        image_std=[0.25] * 3,
    )
    return CLIPProcessor(image_processor=pictures, tokenizer=words)


def word_pieces(texts: list[str]) -> BertTokenizer:
    """BERT's WordPiece, trained on the world's texts; any other text in plain letters still has tokens."""
    pieces = Tokenizer(models.WordPiece(unk_token="[UNK]"))
    pieces.normalizer = normalizers.BertNormalizer(lowercase=True)
    pieces.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    alphabet = sorted(string.ascii_lowercase + string.digits + string.punctuation)
    special = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *("##" + a for a in alphabet)]
    trainer = trainers.WordPieceTrainer(
        vocab_size=1024, special_tokens=special, initial_alphabet=alphabet, show_progress=False
    )
    pieces.train_from_iterator(texts, trainer)
    return BertTokenizer(vocab=pieces.get_vocab(), model_max_length=TOKENS)


def reward(words: BertTokenizer, width: int = 96) -> ImageReward:
    """Images in patches of 8x8 through 3 layers, texts through 2; no dropout, so that a step's draws are its own."""
    sizes = {"hidden_size": width, "intermediate_size": 4 * width, "num_attention_heads": 4}
    sizes |= {"initializer_range": width**-0.5}  # BERT's .02 is for 768 channels: here pictures would hardly be heard
    vision = sizes | {"num_hidden_layers": 3, "image_size": 64, "patch_size": 8, "layer_norm_eps": 1e-6}
    numbers = {"vocab_size": len(words), "pad_token_id": words.pad_token_id, "sep_token_id": words.sep_token_id}
    numbers |= {"bos_token_id": words.cls_token_id}
    text = sizes | {"num_hidden_layers": 2, "max_position_embeddings": TOKENS, "layer_norm_eps": 1e-12} | numbers
    config = {"vision_config": vision, "text_config": text, "head": [64, 32, 16, 8], "dropout": [0.0, 0.0, 0.0]}
    pictures = CLIPImageProcessorPil(size={"shortest_edge": 64}, crop_size={"height": 64, "width": 64})
    return ImageReward(config | {"max_tokens": TOKENS, "mean": 0.0, "std": 1.0}, words, pictures)


def pipeline(vae: AutoencoderKL, unet: UNet2DConditionModel, text: CLIPTextModel, words: CLIPTokenizer):
    return StableDiffusionPipeline(
        vae=vae,
        unet=unet,
        text_encoder=text,
        tokenizer=words,
        scheduler=scheduler(),
        safety_checker=None,
        feature_extractor=None,
        requires_safety_checker=False,
    )


def save(pipe: StableDiffusionPipeline, folder: Path) -> None:
    """Write a pipeline's folder, without the paths of the machine that diffusers notes in its configurations.

    The text encoder is cast to single precision: transformers loads a model as it is stored, while diffusers loads the
    others in single precision, and a pipeline of both could not be called."""
    pipe.text_encoder.float()
    pipe.save_pretrained(folder)
    for file in folder.rglob("*.json"):
        content = json.loads(file.read_text("utf-8"))
        if isinstance(content, dict) and content.pop("_name_or_path", None) is not None:
            file.write_text(json.dumps(content, indent=2, sort_keys=True) + "\n", "utf-8")


def _text_sizes(words: CLIPTokenizer, width: int, layers: int) -> dict:
    return {
        "vocab_size": len(words),
        "hidden_size": width,
        "intermediate_size": 4 * width,
        "projection_dim": width,
        "num_hidden_layers": layers,
        "num_attention_heads": 4,
        "max_position_embeddings": TOKENS,
        "bos_token_id": words.bos_token_id,
        "eos_token_id": words.eos_token_id,
        "pad_token_id": words.pad_token_id,
    }
