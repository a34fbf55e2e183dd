"""A small program with threestudio's command line and output tree: one colour a prompt, `data.n_test_views` rows of
rgb | normal | opacity whose last is the first again. What else a config of it does, its name says."""

import argparse
import os
import subprocess
import sys
import time
import zlib
from pathlib import Path

import numpy as np
import yaml
from PIL import Image

SIZE = 32


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--config", required=True)
    parser.add_argument("--gpu", default="0")
    parser.add_argument("--train", action="store_true")
    known, extras = parser.parse_known_args()
    settings = yaml.safe_load(Path(known.config).read_text())
    for extra in extras:
        key, _, value = extra.partition("=")
        put(settings, key.split("."), yaml.safe_load(value))
    trial = Path(settings["exp_root_dir"], settings["name"], settings["tag"])
    (trial / "configs").mkdir(parents=True)
    (trial / "configs" / "parsed.yaml").write_text(yaml.safe_dump(settings))
    train(Path(known.config).stem, settings, trial)


def put(settings, keys, value):
    for key in keys[:-1]:
        settings = settings.setdefault(key, {})
    settings[keys[-1]] = value


def train(kind, settings, trial):
    steps, prompt = settings["trainer"]["max_steps"], settings["system"]["prompt_processor"]["prompt"]
    colour = zlib.crc32(f"{prompt} {settings['seed']}".encode())
    for step in range(1, steps + 1):
        loss = "nan" if kind == "nan" or (kind == "once" and step == 1) else f"{1 / step:.3f}"
        print(f"\rEpoch 0: | | {step}/{steps} [00:00<00:00, 9.9it/s, train/loss={loss}]", end="", flush=True)
        if kind == "nan":
            time.sleep(0.01)
    print()
    if kind == "hangs":  # with a child that left its group, and does not listen
        child = "import signal, time\nsignal.signal(signal.SIGTERM, signal.SIG_IGN)\ntime.sleep(600)"
        process = subprocess.Popen([sys.executable, "-c", child], start_new_session=True)
        Path(trial, "child").write_text(str(process.pid))
        time.sleep(600)
    if kind == "memory":
        bytearray(1 << 60)
    if kind == "killed":
        os.kill(os.getpid(), 9)
    if kind == "fails":
        sys.exit("error: no such scene")
    if kind == "nothing":
        return
    save(kind, trial / "save" / f"it{steps}-test", colour, settings["data"]["n_test_views"])


def save(kind, folder, colour, views):
    folder.mkdir(parents=True)
    for k in range(views // 2 if kind == "few" else views):
        row = np.zeros((SIZE, 3 * SIZE, 3), np.uint8)
        turn = k % (views - 1)
        row[8:24, 8 : 24 - turn % 8, :] = [(colour >> shift) & 255 for shift in (0, 8, 16)]
        row[:, SIZE : 2 * SIZE] = (128, 128, 255)
        row[8:24, 2 * SIZE + 8 : 2 * SIZE + 24 - turn % 8] = 255
        Image.fromarray(row).save(folder / f"{k}.png")
    if kind == "damaged":
        (folder / "1.png").write_bytes((folder / "1.png").read_bytes()[:60])


if __name__ == "__main__":
    main()
