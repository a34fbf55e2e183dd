"""A small ImageReward in the published format, and what the `image-reward` package says of it.

In an environment of its own (Python 3.11, torch, torchvision, transformers 4.36, timm 0.6.13, fairscale, image-reward):

    python tests/eval/image_reward_equality.py tests/eval/image_reward_record.safetensors

The package's own classes are built at the sizes below, with weights drawn from their names; `clip`, which only another
metric of the package reads, is not imported. The record holds pictures and rewards.
"""

from __future__ import annotations

import itertools
import json
import sys
import types
import zlib
from pathlib import Path

import torch
from safetensors.torch import save_file
from torch import Tensor

VIT, TEXT, LAYERS, PATCH, PLACES, VOCABULARY = 128, 64, 2, 16, 197, 1024
PROMPTS = ("A ripe strawberry", "a DSLR photo of a white fluffy cat, " * 5)  # the second is cut at 35 tokens
RECORD = Path(__file__).with_name("image_reward_record.safetensors")
MED = {
    "architectures": ["BertModel"], "attention_probs_dropout_prob": 0.1, "hidden_act": "gelu",
    "hidden_dropout_prob": 0.1, "hidden_size": TEXT, "initializer_range": 0.02, "intermediate_size": 4 * TEXT,
    "layer_norm_eps": 1e-12, "max_position_embeddings": 64, "model_type": "bert", "num_attention_heads": 2,
    "num_hidden_layers": LAYERS, "pad_token_id": 0, "add_type_embeddings": False, "vocab_size": VOCABULARY,
    "encoder_width": VIT, "add_cross_attention": True,
}  # fmt: skip


def shapes() -> dict[str, tuple[int, ...]]:
    """The tensors of ImageReward.pt by name, at small sizes."""
    found: dict[str, tuple[int, ...]] = {}

    def layer(name: str, out: int, into: int | None = None) -> None:
        found[name + ".weight"] = (out,) if into is None else (out, into)
        found[name + ".bias"] = (out,)

    vit, text = "blip.visual_encoder.", "blip.text_encoder."
    found |= {vit + "cls_token": (1, 1, VIT), vit + "pos_embed": (1, PLACES, VIT)}
    found |= {vit + "patch_embed.proj.weight": (VIT, 3, PATCH, PATCH), vit + "patch_embed.proj.bias": (VIT,)}
    layer(vit + "norm", VIT)
    found[text + "embeddings.word_embeddings.weight"] = (VOCABULARY, TEXT)
    found[text + "embeddings.position_embeddings.weight"] = (MED["max_position_embeddings"], TEXT)
    layer(text + "embeddings.LayerNorm", TEXT)
    for k in range(LAYERS):
        block, at = f"{vit}blocks.{k}.", f"{text}encoder.layer.{k}."
        layer(block + "norm1", VIT)
        layer(block + "norm2", VIT)
        layer(block + "attn.qkv", 3 * VIT, VIT)
        layer(block + "attn.proj", VIT, VIT)
        layer(block + "mlp.fc1", 4 * VIT, VIT)
        layer(block + "mlp.fc2", VIT, 4 * VIT)
        for kind, width in (("attention", TEXT), ("crossattention", VIT)):
            layer(f"{at}{kind}.self.query", TEXT, TEXT)
            layer(f"{at}{kind}.self.key", TEXT, width)
            layer(f"{at}{kind}.self.value", TEXT, width)
            layer(f"{at}{kind}.output.dense", TEXT, TEXT)
            layer(f"{at}{kind}.output.LayerNorm", TEXT)
        layer(at + "intermediate.dense", 4 * TEXT, TEXT)
        layer(at + "output.dense", TEXT, 4 * TEXT)
        layer(at + "output.LayerNorm", TEXT)
    layer("blip.vision_proj", 256, VIT)
    layer("blip.text_proj", 256, TEXT)
    widths = (TEXT, 1024, 128, 64, 16, 1)
    for k, (into, out) in zip((0, 2, 4, 6, 7), itertools.pairwise(widths), strict=True):
        layer(f"mlp.layers.{k}", out, into)
    return found


def weights() -> dict[str, Tensor]:
    """Each drawn from its name; matrices keep the size of what they multiply."""
    return {name: _drawn(name, shape) for name, shape in shapes().items()}


def _drawn(name: str, shape: tuple[int, ...]) -> Tensor:
    x = torch.randn(shape, generator=torch.Generator().manual_seed(zlib.crc32(name.encode())))
    if "norm" in name.lower() and name.endswith("weight"):
        return 1 + 0.1 * x
    if len(shape) == 1:
        return 0.1 * x
    table = "token" in name or ("embed" in name and "patch" not in name)
    return x if table else x * x[0].numel() ** -0.5


def pictures() -> Tensor:
    """Three pictures (3,3,72,96) of 8 bits: flat colours under noise, wider than high, so that resizing and cropping
    are tested too."""
    rng = torch.Generator().manual_seed(0)
    flat = torch.rand(3, 3, 1, 1, generator=rng)
    return ((0.7 * flat + 0.3 * torch.rand(3, 3, 72, 96, generator=rng)) * 255).round().byte()


def vocabulary() -> list[str]:
    """The word pieces of the world's reward, in their order, filled up to VOCABULARY."""
    folder = Path(__file__).parents[2] / "world/models/tiny-reward"
    pieces = json.loads((folder / "tokenizer.json").read_text("utf-8"))["model"]["vocab"]
    words = sorted(pieces, key=pieces.__getitem__)
    return [*words, *(f"[unused{k}]" for k in range(VOCABULARY - len(words)))]


def by_the_package(folder: Path) -> Tensor:
    """Rewards (prompts, pictures) of the package's own ImageReward."""
    import importlib
    import importlib.util

    # torchvision's compiled operators may not fit a torch without CUDA; its transforms of pictures do not use them
    register, torch.library.register_fake = torch.library.register_fake, lambda *_, **__: lambda function: function
    importlib.import_module("torchvision.transforms")
    torch.library.register_fake = register

    from PIL import Image
    from transformers import BertTokenizer

    home = Path(importlib.util.find_spec("ImageReward").submodule_search_locations[0])  # type: ignore
    for name, place in (("ImageReward", home), ("ImageReward.models", home / "models")):
        package = types.ModuleType(name)  # in place of its __init__, which imports trainers and other metrics
        package.__path__ = [str(place)]
        sys.modules[name] = package
    package = importlib.import_module("ImageReward.ImageReward")
    blip = importlib.import_module("ImageReward.models.BLIP.blip_pretrain")
    vit = importlib.import_module("ImageReward.models.BLIP.vit")
    (folder / "vocab.txt").write_text("\n".join(vocabulary()), "utf-8")
    (folder / "med_config.json").write_text(json.dumps(MED), "utf-8")
    blip.init_tokenizer = lambda: BertTokenizer(str(folder / "vocab.txt"))
    small = {"patch_size": PATCH, "embed_dim": VIT, "depth": LAYERS, "num_heads": VIT // 64}
    blip.create_vit = lambda _, size, *rest: (vit.VisionTransformer(img_size=size, **small), VIT)
    head = package.MLP
    package.MLP = lambda _: head(TEXT)
    model = package.ImageReward(str(folder / "med_config.json"))
    theirs = {n: tuple(p.shape) for n, p in model.state_dict().items() if not n.endswith("position_ids")}
    if theirs != shapes():
        raise SystemExit(f"The package's tensors are others: {sorted(theirs.items() ^ shapes().items())}")
    model.load_state_dict(weights(), strict=False)
    model.eval()
    images = [Image.fromarray(p.permute(1, 2, 0).numpy()) for p in pictures()]
    with torch.no_grad():
        return torch.tensor([[model.score(prompt, image) for image in images] for prompt in PROMPTS])


if __name__ == "__main__":
    import tempfile

    with tempfile.TemporaryDirectory() as home:
        rewards = by_the_package(Path(home))
    save_file({"pictures": pictures(), "rewards": rewards}, sys.argv[1])
    print(rewards)
