"""What runs in a judge's own environment: it opens a published package, and answers a line of JSON for each job.

    > {"name", "weights", "device"}           < {"ready": true}
    > {"file", "shape": [V, H, W, 3], "prompt"}   < {"scores": [V numbers]}        {"error": "..."} where it fails

Pictures are 8-bit RGB in a file of plain bytes. Nothing of this program is imported: the package's own libraries alone.
"""

import json
import os
import sys
import types
from pathlib import Path

BATCH = 8  # pictures together, at most


def pyiqa(kind, weights, device):
    import pyiqa
    import torch

    metric = pyiqa.create_metric(kind, device=device)

    def score(pictures, prompt):
        batch = torch.from_numpy(pictures).permute(0, 3, 1, 2).float() / 255
        return metric(batch.to(device)).flatten().tolist()

    return score


def image_reward(kind, weights, device):
    """The package's own classes on the tensors of `weights`, whose shapes say the sizes; nothing is fetched."""
    import importlib.util

    import torch
    from PIL import Image
    from safetensors.torch import load_file
    from transformers import BertTokenizerFast

    home = Path(importlib.util.find_spec("ImageReward").submodule_search_locations[0])
    for name, place in (("ImageReward", home), ("ImageReward.models", home / "models")):
        package = types.ModuleType(name)  # in place of its __init__, which imports trainers and other metrics
        package.__path__ = [str(place)]
        sys.modules[name] = package
    package = importlib.import_module("ImageReward.ImageReward")
    blip = importlib.import_module("ImageReward.models.BLIP.blip_pretrain")
    vit = importlib.import_module("ImageReward.models.BLIP.vit")
    state = load_file(Path(weights, "ImageReward.safetensors"))
    patches = state["blip.visual_encoder.patch_embed.proj.weight"]
    width, depth = len(patches), len({k.split(".")[3] for k in state if k.startswith("blip.visual_encoder.blocks.")})
    sizes = {"patch_size": patches.shape[-1], "embed_dim": width, "depth": depth, "num_heads": width // 64}
    blip.create_vit = lambda _, size, *rest: (vit.VisionTransformer(img_size=size, **sizes), width)
    head = package.MLP
    package.MLP = lambda _: head(state["mlp.layers.0.weight"].shape[1])
    blip.init_tokenizer = lambda: BertTokenizerFast(tokenizer_file=str(Path(weights, "tokenizer.json")))
    model = package.ImageReward(str(Path(weights, "med_config.json")), device)
    lost, odd = model.load_state_dict(state, strict=False)
    if wrong := [name for name in (*lost, *odd) if not name.endswith("position_ids")]:
        raise ValueError(f"the weights are of another model: {wrong[0]}")
    model.to(device).eval()

    def score(pictures, prompt):
        with torch.no_grad():
            return [model.score(prompt, Image.fromarray(picture)) for picture in pictures]

    return score


def torchmetrics(kind, weights, device):
    """torchmetrics 1.9 expects features to be tensors, as they were before transformers 5."""
    import torch
    from torchmetrics.functional.multimodal import clip_score
    from transformers import CLIPImageProcessorPil, CLIPModel, CLIPProcessor, CLIPTokenizer

    class Plain:
        def __init__(self, model):
            self.model, self.config = model, model.config

        def to(self, device):
            return self

        def get_image_features(self, pixels):
            return self.model.get_image_features(pixels).pooler_output

        def get_text_features(self, tokens, mask):
            return self.model.get_text_features(tokens, mask).pooler_output

    model = Plain(CLIPModel.from_pretrained(weights).to(device).eval())
    parts = [part.from_pretrained(weights, local_files_only=True) for part in (CLIPImageProcessorPil, CLIPTokenizer)]
    held = model, CLIPProcessor(*parts)

    def score(pictures, prompt):
        batch = torch.from_numpy(pictures).permute(0, 3, 1, 2)
        return [float(clip_score(p[None].to(device), [prompt], model_name_or_path=lambda: held)) for p in batch]

    return score


def hpsv2(kind, weights, device):
    import hpsv2
    from PIL import Image

    def score(pictures, prompt):
        return [float(s) for s in hpsv2.score([Image.fromarray(p) for p in pictures], prompt, hps_version="v2.1")]

    return score


OPENS = {"pyiqa": pyiqa, "image-reward": image_reward, "torchmetrics": torchmetrics, "hpsv2": hpsv2}


def main():
    line = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)  # what packages print is no answer
    score = None
    for asked in map(json.loads, sys.stdin):
        try:
            if score is None:
                package, _, kind = asked["name"].partition(":")
                score = OPENS[package](kind, asked["weights"], asked["device"])
                answer = {"ready": True}
            else:
                answer = {"scores": all_of(score, asked)}
        except Exception as error:
            answer = {"error": f"{type(error).__name__}: {error}"[:500]}
        line.write(json.dumps(answer) + "\n")
        line.flush()


def all_of(score, asked):
    import numpy as np

    pictures = np.fromfile(asked["file"], np.uint8).reshape(asked["shape"])
    chunks = [score(pictures[k : k + BATCH], asked["prompt"]) for k in range(0, len(pictures), BATCH)]
    return [float(value) for chunk in chunks for value in chunk]


if __name__ == "__main__":
    main()
