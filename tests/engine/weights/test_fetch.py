import hashlib
import json
import os

import pytest
import torch
from safetensors.torch import load_file

from engine.weights import manifest as weights
from errors import UserError
from run_benchmark import main
from tests.engine.server import serving

CONFIG, NET, OTHER = b'{"a": 1}', os.urandom(150_000), os.urandom(1000)
FIRST, SECOND = "first/toy/resolve/aaa", "second/toy/resolve/bbb"


def sha(body):
    return hashlib.sha256(body).hexdigest()


@pytest.fixture
def archive(tmp_path):
    """A pickle of tensors as published ones are: half precision, shared memory, a number among them."""
    tied = torch.arange(6.0).half().view(2, 3)
    torch.save({"a.weight": tied, "b.weight": tied.T, "ids": torch.arange(3)}, tmp_path / "net.pt")
    return (tmp_path / "net.pt").read_bytes()


@pytest.fixture
def toys(tmp_path, monkeypatch, archive):
    """Two weights of a few small files, on two hubs of one server; a folder for them, and an empty cache."""
    files = {"config.json": {"bytes": 8}, "unet/net.fp16.bin": {"bytes": len(NET), "sha256": sha(NET)}}
    manifest = {
        "toy": {"what": "a toy", "licence": "MIT", "parts": [{"sources": ["first/toy@aaa", "second/toy@bbb"],
                                                              "files": files}]},
        "box": {"what": "an archive", "licence": "MIT", "methods": ["vsd"],
                "parts": [{"sources": ["first/box@ccc"],
                           "files": {"net.pt": {"bytes": len(archive), "becomes": "net.safetensors"}}}]},
        "sd21-base": {"what": "", "licence": "", "parts": []},
    }  # fmt: skip
    (tmp_path / "manifest.json").write_text(json.dumps(manifest))
    monkeypatch.setattr(weights, "MANIFEST", tmp_path / "manifest.json")
    monkeypatch.setenv("HF_HOME", str(tmp_path / "hf"))
    for name in (weights.PLACE, "HF_HUB_CACHE", "HUGGINGFACE_HUB_CACHE", "HF_HUB_OFFLINE", "HF_TOKEN"):
        monkeypatch.delenv(name, raising=False)
    weights.manifest.cache_clear()
    with serving() as site:
        site.files |= {f"{FIRST}/config.json": CONFIG, f"{FIRST}/unet/net.fp16.bin": NET}
        site.files |= {f"{SECOND}/config.json": CONFIG, f"{SECOND}/unet/net.fp16.bin": NET}
        site.files["first/box/resolve/ccc/net.pt"] = archive
        monkeypatch.setenv("HF_ENDPOINT", site.url)
        yield site
    weights.manifest.cache_clear()


@pytest.fixture
def home(toys, tmp_path):
    return tmp_path / "hf" / "score-distillation" / "toy"


def said(capsys, *arguments):
    assert main(["fetch", *arguments]) == 2
    err = capsys.readouterr().err
    assert err.startswith("run_benchmark.py: ")
    assert err.count("\n") == 1
    return err


def cache(tmp_path, name, body, repository="second--toy", snapshot="bbb"):
    """A file in Hugging Face's cache, as its library puts it: a link to a blob."""
    folder = tmp_path / "hf" / "hub" / f"models--{repository}"
    blob = folder / "blobs" / sha(body)
    blob.parent.mkdir(parents=True, exist_ok=True)
    blob.write_bytes(body)
    file = folder / "snapshots" / snapshot / name
    file.parent.mkdir(parents=True, exist_ok=True)
    file.symlink_to(os.path.relpath(blob, file.parent))
    return blob


def test_all_of_it_arrives_is_pinned_and_is_found(toys, home, capsys):
    assert weights.folder("toy") is None
    assert main(["fetch"]) == 0
    assert (home / "config.json").read_bytes() == CONFIG
    assert (home / "unet/net.fp16.bin").read_bytes() == NET
    lock = weights.read_lock(home)
    assert lock["config.json"]["sha256"] == sha(CONFIG)
    assert lock["unet/net.fp16.bin"]["source"] == f"{toys.url}/{FIRST}/unet/net.fp16.bin"
    assert weights.folder("toy") == home
    assert str(home) in capsys.readouterr().out
    asked = len(toys.asked)
    assert main(["fetch"]) == 0
    assert main(["fetch", "--check"]) == 0
    assert len(toys.asked) == asked


def test_an_archive_becomes_safetensors(toys, home, archive):
    assert main(["fetch", "box"]) == 0
    box = home.parent / "box"
    assert sorted(f.name for f in box.iterdir()) == ["net.safetensors", "weights.lock"]
    state = load_file(box / "net.safetensors")
    assert torch.equal(state["b.weight"], torch.arange(6.0).view(2, 3).T)
    assert state["a.weight"].dtype == torch.float32
    assert state["ids"].dtype == torch.int64
    assert weights.read_lock(box)["net.safetensors"]["of"] == sha(archive)
    assert weights.folder("box") == box
    assert not home.exists()


def test_a_fetch_that_was_stopped_goes_on(toys, home, monkeypatch, capsys):
    real = weights.pin

    def stop(*arguments):
        real(*arguments)
        raise KeyboardInterrupt

    monkeypatch.setattr(weights, "pin", stop)
    assert main(["fetch", "toy"]) == 130
    monkeypatch.setattr(weights, "pin", real)
    assert weights.folder("toy") is None
    assert main(["fetch", "toy"]) == 0
    assert [path for path, _ in toys.asked] == [f"{FIRST}/config.json", f"{FIRST}/unet/net.fp16.bin"]


def test_the_next_source_has_what_the_first_has_not(toys, home, capsys):
    del toys.files[f"{FIRST}/config.json"]
    toys.files[f"{FIRST}/unet/net.fp16.bin"] = OTHER
    assert main(["fetch", "toy"]) == 0
    assert (home / "unet/net.fp16.bin").read_bytes() == NET
    out = capsys.readouterr().out
    assert f"{FIRST}/config.json: status 404" in out
    assert f"{FIRST}/unet/net.fp16.bin: wrong checksum" in out


def test_what_no_source_has_is_one_sentence_and_the_rest_arrives(toys, home, capsys):
    for source in (FIRST, SECOND):
        toys.files[f"{source}/unet/net.fp16.bin"] = OTHER
    err = said(capsys, "toy")
    assert "toy/unet/net.fp16.bin is not to be had" in err
    assert err.count("wrong checksum") == 2
    assert "--mirror" in err
    assert not (home / "unet/net.fp16.bin").exists()
    assert (home / "config.json").exists()


def test_a_truncated_download_is_gone_on_with(toys, home):
    toys.cuts[f"{FIRST}/unet/net.fp16.bin"] = [70_000]
    assert main(["fetch", "toy"]) == 0
    assert (home / "unet/net.fp16.bin").read_bytes() == NET
    assert toys.asked[-1] == (f"{FIRST}/unet/net.fp16.bin", "bytes=70000-")


def test_what_the_manifest_does_not_pin_is_pinned_by_its_first_download(toys, home, capsys):
    assert main(["fetch", "toy"]) == 0
    (home / "config.json").unlink()
    toys.files[f"{FIRST}/config.json"] = toys.files[f"{SECOND}/config.json"] = b'{"a": 2}'
    assert "wrong checksum" in said(capsys, "toy")
    toys.files[f"{SECOND}/config.json"] = CONFIG
    assert main(["fetch", "toy"]) == 0


def test_a_changed_file_is_refused(toys, home, capsys):
    assert main(["fetch", "toy"]) == 0
    (home / "config.json").write_bytes(b'{"a": 2}')
    assert "config.json is not what was fetched" in said(capsys, "toy")
    (home / "config.json").write_bytes(CONFIG + b" ")
    with pytest.raises(UserError, match="is not what was fetched"):
        weights.folder("toy")
    (home / "config.json").write_bytes(CONFIG)  # another time, the same content
    assert main(["fetch", "toy"]) == 0
    facts = (home / "config.json").stat()
    (home / "config.json").write_bytes(b'{"a": 3}')
    os.utime(home / "config.json", ns=(facts.st_atime_ns, weights.read_lock(home)["config.json"]["modified"]))
    assert main(["fetch", "toy"]) == 0  # size and time are as they were
    assert "is not what was fetched" in said(capsys, "toy", "--check")


def test_what_was_put_there_by_hand_is_checked_and_pinned(toys, home, capsys):
    (home / "unet").mkdir(parents=True)
    (home / "config.json").write_bytes(b"{}")
    (home / "unet/net.fp16.bin").write_bytes(OTHER)
    assert "net.fp16.bin is not what was fetched" in said(capsys, "toy")
    (home / "unet/net.fp16.bin").write_bytes(NET)
    assert main(["fetch", "toy"]) == 0
    assert toys.asked == []
    assert set(weights.read_lock(home)) == {"config.json", "unet/net.fp16.bin"}


def test_the_hub_cache_is_used_before_the_network(toys, home, tmp_path):
    blob = cache(tmp_path, "unet/net.fp16.bin", NET)
    assert main(["fetch", "toy"]) == 0
    assert toys.asked == [(f"{FIRST}/config.json", None)]
    file = home / "unet/net.fp16.bin"
    assert file.read_bytes() == NET
    assert not file.is_symlink()
    assert file.stat().st_ino == blob.stat().st_ino  # no second copy on the disk


def test_single_precision_in_the_cache_serves_and_a_damaged_copy_does_not(toys, home, tmp_path):
    cache(tmp_path, "unet/net.fp16.bin", OTHER)
    cache(tmp_path, "config.json", CONFIG, "first--toy", "another")
    assert main(["fetch", "toy"]) == 0
    assert toys.asked == [(f"{FIRST}/unet/net.fp16.bin", None)]
    (home / "unet/net.fp16.bin").unlink()
    next((tmp_path / "hf/hub").glob("models--second--toy/snapshots/*/unet/net.fp16.bin")).unlink()
    cache(tmp_path, "unet/net.bin", OTHER)
    assert main(["fetch", "toy"]) == 0
    assert (home / "unet/net.bin").read_bytes() == OTHER
    assert weights.folder("toy") == home


def test_offline_only_this_machine_is_searched(toys, home, tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    assert "HF_HUB_OFFLINE is set" in said(capsys, "toy")
    cache(tmp_path, "unet/net.fp16.bin", NET)
    cache(tmp_path, "config.json", CONFIG)
    assert main(["fetch", "toy"]) == 0
    assert toys.asked == []


def test_a_mirror_is_asked_first(toys, home, tmp_path, capsys):
    toys.files |= {"mine/toy/config.json": b"[]", f"mine/{SECOND}/unet/net.fp16.bin": NET}
    assert main(["fetch", "toy", "--mirror", f"{toys.url}/mine/"]) == 0
    assert (home / "config.json").read_bytes() == b"[]"
    assert all(path.startswith("mine/") for path, _ in toys.asked)
    folder = tmp_path / "usb"
    (folder / "toy/unet").mkdir(parents=True)
    (folder / "toy/config.json").write_bytes(b"{}")
    (folder / "toy/unet/net.fp16.bin").write_bytes(NET)
    toys.asked.clear()
    elsewhere = tmp_path / "elsewhere"
    assert main(["fetch", "toy", "--mirror", str(folder), "--to", str(elsewhere)]) == 0
    assert toys.asked == []
    assert (elsewhere / "toy/config.json").read_bytes() == b"{}"
    assert f"export {weights.PLACE}={elsewhere}" in capsys.readouterr().out.replace("\n", "")
    assert "There is no folder nowhere" in said(capsys, "toy", "--mirror", "nowhere")


def test_a_place_named_in_the_environment_is_where_runs_look(toys, tmp_path, monkeypatch):
    monkeypatch.setenv(weights.PLACE, str(tmp_path / "mine"))
    assert main(["fetch", "toy"]) == 0
    assert weights.folder("toy") == tmp_path / "mine" / "toy"


def test_a_dry_run_brings_nothing(toys, home, capsys):
    assert main(["fetch", "--dry-run"]) == 0
    out = capsys.readouterr().out
    assert "0 of 2 files" in out
    assert f"from {toys.url}/{FIRST}\n    or {toys.url}/{SECOND}\n" in out
    assert "150 kB  unet/net.fp16.bin" in out
    assert "licence: MIT" in out
    assert toys.asked == []
    assert not home.exists()


def test_a_disk_without_room_is_told_before_a_byte_comes(toys, monkeypatch, capsys):
    monkeypatch.setattr("engine.weights.fetch.free_bytes", lambda place: 150_000)
    assert "GB are free: see --to" in said(capsys, "toy")
    assert toys.asked == []


def test_a_pickle_that_would_run_something_is_refused(toys, home, capsys, tmp_path):
    class Trap:
        def __reduce__(self):
            return (os.mkdir, (str(tmp_path / "sprung"),))

    torch.save({"a": Trap()}, tmp_path / "trap.pt")
    toys.files["first/box/resolve/ccc/net.pt"] = (tmp_path / "trap.pt").read_bytes()
    assert "is no archive of tensors" in said(capsys, "box")
    assert not (tmp_path / "sprung").exists()
    assert not (home.parent / "box/net.safetensors").exists()


def test_an_archive_that_is_none_is_not_kept_and_the_next_source_is_asked(toys, home, archive, tmp_path, capsys):
    """Bytes of whatever kind, from a mirror that has it wrong; and such as an earlier fetch left."""
    toys.files["mine/first/box/resolve/ccc/net.pt"] = os.urandom(2000)
    assert main(["fetch", "box", "--mirror", f"{toys.url}/mine"]) == 0
    assert "net.pt is no archive of tensors" in capsys.readouterr().out
    box = home.parent / "box"
    assert sorted(f.name for f in box.iterdir()) == ["net.safetensors", "weights.lock"]
    (box / "net.safetensors").unlink()
    (box / "weights.lock").unlink()
    (box / "net.pt").write_bytes(b"<html>")
    assert main(["fetch", "box"]) == 0
    assert sorted(f.name for f in box.iterdir()) == ["net.safetensors", "weights.lock"]


def test_a_check_looks_inside_what_nothing_is_pinned_for(toys, home, capsys):
    assert main(["fetch", "toy"]) == 0
    (home / "config.json").write_bytes(b"<html>sign in</html>")
    (home / "weights.lock").unlink()
    assert main(["fetch", "toy"]) == 0  # put there by hand, it is pinned
    assert "config.json is a web page: delete it and fetch again" in said(capsys, "toy", "--check")


def test_a_clip_of_a_published_archive_scores_as_before(tmp_path):
    from engine.weights.convert import to_safetensors
    from eval.encoders import load_clip
    from tests.eval.clip import write_clip

    folder = write_clip(tmp_path / "clip")
    before = load_clip(folder)
    torch.save(before.model.state_dict(), folder / "pytorch_model.bin")
    (folder / "model.safetensors").unlink()
    to_safetensors(folder / "pytorch_model.bin", folder / "model.safetensors")
    images = torch.rand(2, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    assert torch.equal(load_clip(folder).images(images), before.images(images))


@pytest.mark.filterwarnings("ignore::FutureWarning")
def test_a_torchscript_archive_gives_its_state(tmp_path):
    from engine.weights.convert import to_safetensors

    net = torch.nn.Sequential(torch.nn.Linear(3, 2)).half()
    net.register_buffer("input_resolution", torch.tensor(224))
    torch.jit.script(net).save(tmp_path / "RN50.pt")
    to_safetensors(tmp_path / "RN50.pt", tmp_path / "RN50.safetensors")
    state = load_file(tmp_path / "RN50.safetensors")
    assert state.keys() == {"0.weight", "0.bias"}
    torch.testing.assert_close(state["0.weight"], net[0].weight.float())


def test_names_nobody_knows(capsys):
    assert "did you mean 'sd21-base'" in said(capsys, "sd21base")


def test_the_manifest_is_complete():
    """Every weight that the suite looks for, with a source of each file; pins are SHA-256, revisions are commits."""
    known = weights.manifest()
    assert list(known) == ["sd21-base", "sd21", "clip-vit-b32", "clip-iqa-rn50", "image-reward"]
    for weight in known.values():
        assert weight.licence
        for file in weight.files:
            assert file.bytes > 0
            assert file.sha256 is None or len(bytes.fromhex(file.sha256)) == 32
            assert file.sources
            assert all("://" in s or len(s.split("@")[1]) == 40 for s in file.sources)
    assert known["sd21"].serves(["sdi", "esd"])
    assert not known["sd21"].serves(["sdi"])
    big = [f for w in known.values() for f in w.files if f.bytes > 1e8]
    assert [f.path for f in big if f.sha256 is None] == ["ImageReward.pt"]


def test_the_token_goes_to_the_hub_and_to_no_other(toys, home, monkeypatch, capsys):
    toys.token = "secret"
    err = said(capsys, "toy")
    assert "status 401, it wants a token: set HF_TOKEN" in err
    monkeypatch.setenv("HF_TOKEN", "secret")
    assert main(["fetch", "toy"]) == 0
    assert toys.tokens[-1] == "Bearer secret"
    other = f"{toys.url}/mine".replace("127.0.0.1", "localhost")
    toys.tokens.clear()
    assert main(["fetch", "toy", "--to", str(home.parent / "other"), "--mirror", other]) == 0
    assert toys.tokens[0] is None


def test_a_token_that_is_refused_is_left_out(toys, home, monkeypatch, capsys):
    toys.refused = "Bearer old"
    monkeypatch.setenv("HF_TOKEN", "old")
    assert main(["fetch", "toy"]) == 0
    assert "the token is refused; without it" in capsys.readouterr().out


def test_a_mirror_of_other_revisions_serves_by_checksum(toys, home):
    for name, body in {"config.json": CONFIG, "unet/net.fp16.bin": NET}.items():
        del toys.files[f"{FIRST}/{name}"], toys.files[f"{SECOND}/{name}"]
        toys.files[f"second/toy/resolve/master/{name}"] = body
    toys.files["first/toy/resolve/main/unet/net.fp16.bin"] = OTHER
    assert main(["fetch", "toy"]) == 0
    assert (home / "unet/net.fp16.bin").read_bytes() == NET


def test_the_older_name_of_the_hubs_cache_is_known(toys, home, tmp_path, monkeypatch):
    cache(tmp_path, "unet/net.fp16.bin", NET)
    (tmp_path / "hf/hub").rename(tmp_path / "elsewhere")
    monkeypatch.setenv("HUGGINGFACE_HUB_CACHE", str(tmp_path / "elsewhere"))
    assert main(["fetch", "toy"]) == 0
    assert toys.asked == [(f"{FIRST}/config.json", None)]


def test_a_busy_hub_is_waited_for_as_it_asks(toys, home, capsys):
    toys.busy[f"{FIRST}/config.json"] = [(429, {"Retry-After": "0"})]
    assert main(["fetch", "toy"]) == 0
    assert "status 429, waiting 0 s as it asks" in capsys.readouterr().out
    assert [path for path, _ in toys.asked[:2]] == [f"{FIRST}/config.json"] * 2


def test_a_host_that_fails_at_one_file_is_asked_for_the_others(toys, home, monkeypatch):
    """Both sources are of the one host."""
    monkeypatch.setattr("time.sleep", lambda seconds: None)
    toys.busy[f"{FIRST}/config.json"] = [(500, {})] * 4
    assert main(["fetch", "toy"]) == 0
    assert [path for path, _ in toys.asked].count(f"{SECOND}/config.json") == 1
