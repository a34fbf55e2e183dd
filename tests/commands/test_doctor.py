"""What doctor says of a machine with nothing, of one with everything, and of what is wrong."""

import hashlib
import json
from types import SimpleNamespace

import pytest
import torch

from commands import doctor
from engine.weights import manifest as weights
from run_benchmark import main


@pytest.fixture
def bare(tmp_path, monkeypatch):
    """A machine without GPU and weights, and with room on its disk, however full this one's is."""
    monkeypatch.setenv("HF_HOME", str(tmp_path / "hf"))
    for name in (weights.PLACE, "HF_HUB_CACHE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(doctor, "free_bytes", lambda place: 10**12)
    return tmp_path


@pytest.fixture
def furnished(bare, monkeypatch):
    """A machine with a GPU, and with every file of a smaller manifest as it should be."""
    manifest = json.loads(weights.MANIFEST.read_text("utf-8"))
    for name, entry in manifest.items():
        for part in entry["parts"]:
            for path, facts in part["files"].items():
                body = {"scheduler/scheduler_config.json": '{"prediction_type": "epsilon"}'}.get(path, path).encode()
                if facts.get("sha256"):
                    facts["sha256"] = hashlib.sha256(body).hexdigest()
                file = weights.place() / name / facts.get("becomes", path)
                file.parent.mkdir(parents=True, exist_ok=True)
                file.write_bytes(body)
    (bare / "manifest.json").write_text(json.dumps(manifest))
    monkeypatch.setattr(weights, "MANIFEST", bare / "manifest.json")
    weights.manifest.cache_clear()
    card = SimpleNamespace(name="NVIDIA RTX A6000", total_memory=51_033_931_776)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    monkeypatch.setattr(torch.cuda, "get_device_properties", lambda index: card)
    yield weights.place()
    weights.manifest.cache_clear()


def test_a_bare_machine_is_told_everything(bare, capsys):
    assert main(["doctor"]) == 2
    out, err = capsys.readouterr()
    assert err == ""
    lines = out.splitlines()
    for name, weight in weights.manifest().items():
        line = next(x for x in lines if f" {name} " in x)
        assert line.strip().startswith("missing")
        assert f"0 of {len(weight.files)} files" in line
    assert any("missing  GPU" in x for x in lines)
    assert any("ok       torch " in x for x in lines)
    assert any("room for weights" in x and "7.8 GB needed" in x for x in lines)
    assert any("sdi " in x and "119 min" in x and "85 h" in x and "39.2 GB" in x and "published" in x for x in lines)
    assert "estimated" in out
    assert "fetch sd21-base sd21 clip-vit-b32 clip-iqa-rn50 image-reward" in out
    assert not (bare / "hf").exists()


def test_the_rules_asked_for_decide_what_is_needed(bare, capsys):
    assert main(["doctor", "--methods", "sdi", "nfsd"]) == 2
    out = capsys.readouterr().out
    assert "sd21 " not in out
    assert "no cost is published" in out
    assert main(["doctor", "--methods", "sdii"]) == 2
    assert "did you mean 'sdi'" in capsys.readouterr().err


def test_the_world_needs_no_gpu(bare, capsys):
    assert main(["doctor", "--suite", "world"]) == 0
    assert "all is there" in capsys.readouterr().out


def test_all_is_there(furnished, capsys):
    assert main(["doctor"]) == 0
    out = capsys.readouterr().out
    assert "NVIDIA RTX A6000, 51 GB" in out
    assert "all is there" in out
    assert "missing" not in out
    rows = {line.split()[0]: line for line in out.splitlines() if "published, A6000" in line}
    assert " fits " in rows["sdi"]
    assert " tight " in rows["vsd"]
    assert main(["fetch"]) == 0
    assert main(["doctor"]) == 0


def test_a_full_disk_is_named(furnished, monkeypatch, capsys):
    monkeypatch.setattr(doctor, "free_bytes", lambda place: 2 * 10**10)
    assert main(["doctor"]) == 2
    out = capsys.readouterr().out
    assert "missing  room for results  20.0 GB free, about 21.1 GB needed" in out
    assert "missing or wrong: room for results" in out


def test_what_is_wrong_is_named(furnished, capsys):
    assert main(["fetch"]) == 0
    (furnished / "clip-vit-b32/vocab.json").write_text("changed")
    (furnished / "sd21-base/scheduler/scheduler_config.json").write_text('{"prediction_type": "v_prediction"}')
    (furnished / "sd21-base" / weights.LOCK).unlink()
    (furnished / "sd21/vae/config.json").unlink()
    capsys.readouterr()
    assert main(["doctor"]) == 2
    out = capsys.readouterr().out
    assert "wrong    clip-vit-b32   vocab.json is not what was fetched" in out
    assert "wrong    sd21-base" in out
    assert "the paper's is 2.1-base" in out
    assert "missing  sd21           11 of 12 files are here" in out
    assert "missing or wrong: sd21-base, sd21, clip-vit-b32" in out


def test_the_hub_cache_counts(bare, capsys):
    file = weights.manifest()["clip-vit-b32"].files[-1]
    copy = bare / "hf/hub/models--openai--clip-vit-base-patch32/snapshots/any" / file.path
    copy.parent.mkdir(parents=True)
    copy.write_bytes(b"")
    assert main(["doctor"]) == 2
    line = next(x for x in capsys.readouterr().out.splitlines() if " clip-vit-b32 " in x)
    assert "0.0 GB to fetch; 0.6 GB more are in Hugging Face's cache" in line


def test_jobs_done_here_take_the_place_of_published_ones(bare, capsys):
    def job(seed, status, memory="CUDA peak", steps=100):
        folder = bare / "run" / "sdi" / "07-a-ripe-strawberry" / str(seed)
        folder.mkdir(parents=True)
        record = {"status": status, "seconds": 30.0 + seed, "peak_bytes": 20e9, "memory": memory, "device": "H100"}
        (folder / "record.json").write_text(json.dumps(record))
        (folder / "config.json").write_text(json.dumps({"recipe": {"name": "sdi", "steps": steps}}))

    for seed in range(3):
        job(seed, "finished")
    job(3, "crashed")
    job(4, "finished", memory="process peak")
    cost = doctor.measured(bare / "run")
    assert cost == {"sdi": doctor.Cost(10_000, 10_000 * 31 / 100 / 60, 20.0, "3 done here, H100")}
    main(["doctor", "--run", str(bare / "run")])
    line = next(x for x in capsys.readouterr().out.splitlines() if "done here" in x)
    assert "52 min" in line
    assert "37 h" in line


def test_what_fits():
    assert [doctor.fit(g, 48.0) for g in (43, 44, 48, 49)] == ["fits", "tight", "tight", "too large"]
    assert doctor.fit(1, None) == "no GPU"
