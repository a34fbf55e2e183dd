"""CLIP's byte-level BPE and BERT's word pieces as published (files, order of numbers, markers), with few merges."""

from __future__ import annotations

import json
from functools import cache
from pathlib import Path

from tokenizers import (
    AddedToken,
    Regex,
    Tokenizer,
    decoders,
    models,
    normalizers,
    pre_tokenizers,
    processors,
    trainers,
)

from eval.clip_iqa import SENTENCES
from priors.text import COARSE
from prompts import paper43
from tests.eval.image_reward_equality import vocabulary
from tests.published.settings import END, START

MERGES = 600
WORD = r"'s|'t|'re|'ve|'m|'ll|'d|[\p{L}]+|[\p{N}]|[^\s\p{L}\p{N}]+"  # what CLIP takes for one


@cache
def merges() -> tuple[tuple[str, str], ...]:
    """The most frequent pairs of the paper's prompts, in order."""
    bpe = _bpe({}, [])
    trainer = trainers.BpeTrainer(
        vocab_size=512 + MERGES, special_tokens=[START, END], end_of_word_suffix="</w>", show_progress=False,
        initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
    )  # fmt: skip
    bpe.train_from_iterator([p.text for p in paper43()] + [*SENTENCES, *COARSE.values()], trainer)
    found = json.loads(bpe.to_str())["model"]["merges"]
    return tuple(tuple(m) if isinstance(m, list) else tuple(m.split(" ")) for m in found)[:MERGES]


@cache
def numbers() -> dict[str, int]:
    """Bytes, bytes that end a word, merges, and the two markers: the end is the last, and the largest."""
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    pieces = [*alphabet, *(a + "</w>" for a in alphabet), *("".join(m) for m in merges()), START, END]
    return {piece: n for n, piece in enumerate(dict.fromkeys(pieces))}


def _bpe(vocab: dict[str, int], pairs: list[tuple[str, str]]) -> Tokenizer:
    made = Tokenizer(
        models.BPE(vocab, pairs, unk_token=END, continuing_subword_prefix="", end_of_word_suffix="</w>", fuse_unk=False)
    )
    made.normalizer = normalizers.Sequence(
        [normalizers.NFC(), normalizers.Replace(Regex(r"\s+"), " "), normalizers.Lowercase()]
    )
    made.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.Split(Regex(WORD), "removed", invert=True), pre_tokenizers.ByteLevel(add_prefix_space=False)]
    )
    return made


def write_bpe(folder: Path) -> None:
    """vocab.json and merges.txt."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "vocab.json").write_text(json.dumps(numbers(), ensure_ascii=False), "utf-8")
    lines = ["#version: 0.2", *(" ".join(pair) for pair in merges())]
    (folder / "merges.txt").write_text("\n".join(lines) + "\n", "utf-8")


def write_fast_bpe(folder: Path) -> None:
    """tokenizer.json."""
    folder.mkdir(parents=True, exist_ok=True)
    known = numbers()
    made = _bpe(known, list(merges()))
    made.post_processor = processors.RobertaProcessing(
        (END, known[END]), (START, known[START]), trim_offsets=False, add_prefix_space=False
    )
    made.decoder = decoders.ByteLevel()
    made.add_special_tokens([AddedToken(START, normalized=True), AddedToken(END, normalized=False)])
    made.save(str(folder / "tokenizer.json"))


def write_word_pieces(folder: Path) -> None:
    """tokenizer.json and vocab.txt."""
    folder.mkdir(parents=True, exist_ok=True)
    pieces = vocabulary()
    (folder / "vocab.txt").write_text("\n".join(pieces) + "\n", "utf-8")
    made = Tokenizer(models.WordPiece({p: n for n, p in enumerate(pieces)}, unk_token="[UNK]"))
    made.normalizer, made.pre_tokenizer = normalizers.BertNormalizer(lowercase=True), pre_tokenizers.BertPreTokenizer()
    made.decoder = decoders.WordPiece()
    made.add_special_tokens(["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"])
    ends = [(name, made.token_to_id(name)) for name in ("[CLS]", "[SEP]")]
    made.post_processor = processors.TemplateProcessing("[CLS] $A [SEP]", "[CLS] $A [SEP] $B:1 [SEP]:1", ends)
    made.save(str(folder / "tokenizer.json"))
