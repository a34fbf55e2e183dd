"""What a rule from a file shares with other jobs: each way to change it is named with its line, or leaves no trace."""

from __future__ import annotations

import contextlib
import inspect
import os
import pickle
import random
import signal
import sys
import warnings
from dataclasses import replace

import numpy as np
import pytest
import torch

from engine.recipes import guard, shelter, started
from engine.recipes.outside import load
from engine.store import read_tensors, write_tensors
from engine.training import Training
from errors import RuleError
from methods.base import with_fields
from priors import guidance, stable_diffusion
from priors.base import Prior
from priors.schedule import Schedule
from priors.text import make_text
from tests.engine import jobs
from tests.helpers import views_of
from tests.tiny import write_prior

RULE = """from dataclasses import dataclass
import os, random, sys, warnings
import numpy as np
import torch
from methods.base import Guidance, Method
import priors.guidance
IMPORT

@dataclass(frozen=True)
class Mine(Method):
    guidance_weight = 1.0
    def __post_init__(self):
        POST
    def start(self, prior):
        START
    def gradient(self, views, prior, state):
        GRADIENT
        return Guidance(views.x0 + torch.randn(()) * 0)
    def learn(self, views, prior, state):
        LEARN
"""
LINES = {part: k for k, line in enumerate(RULE.splitlines(), 1) for part in (line.strip(),) if part.isupper()}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return write_prior(tmp_path_factory.mktemp("prior"))


@pytest.fixture
def prior(folder):
    return stable_diffusion.load(folder)


def rule(tmp_path, **parts):
    text = RULE
    for part in LINES:
        text = text.replace(part, parts.get(part.lower(), "pass"))
    (tmp_path / "mine.py").write_text(text)
    return load(f"{tmp_path / 'mine.py'}:Mine")


def train(made, prior, steps=2, seed=0):
    training = Training(replace(jobs.job(made, seed=seed), prompt=jobs.PROMPT), prior, "cpu")
    for _ in range(steps):
        training.advance()
    training.tensors()
    return training


SD = stable_diffusion.StableDiffusion
WEIGHT = "prior.unet.conv_in.weight"
CHANGES = [
    ("with torch.no_grad(): prior.unet.conv_in.weight.mul_(0.9)", WEIGHT),
    ("prior.unet.conv_in.weight.data.mul_(0.9)", WEIGHT),
    ("prior.unet.conv_in.weight.data = prior.unet.conv_in.weight.data * 0.9", WEIGHT),
    ("prior.unet.conv_in.weight.numpy()[:] = 1", WEIGHT),
    ("torch._foreach_mul_(list(prior.unet.parameters()), 0.9)", WEIGHT),
    ("torch.nn.init.zeros_(prior.vae.decoder.conv_in.weight)", "prior.vae.decoder.conv_in.weight"),
    (
        "prior.unet.conv_in.weight = torch.nn.Parameter(torch.zeros(8, 4, 3, 3))",
        "the weight weight of prior.unet.conv_in",
    ),
    ("prior.unet.load_state_dict({k: 0 * v for k, v in prior.unet.state_dict().items()})", WEIGHT),
    ("prior.unet.requires_grad_(True)", "requires_grad of prior.unet"),
    ("prior.schedule.abar.mul_(0.5)", "prior.schedule.abar"),
    ("object.__setattr__(prior.schedule, 'abar', prior.schedule.abar * 0.5)", "the attribute abar of prior.schedule"),
    ("prior.schedule = type(prior.schedule)(prior.schedule.abar * 0.5)", "the attribute schedule of prior"),
    ("prior.unet.register_forward_hook(lambda m, i, o: o)", "hook .* of prior.unet"),
    ("prior.unet.conv_in.register_forward_pre_hook(lambda m, i: i)", "hook .* of prior.unet.conv_in"),
    ("prior.unet.train()", "the attribute training of prior.unet"),
    ("prior.unet.conv_in = torch.nn.Identity()", "the module conv_in of prior.unet"),
    ("prior.unet.conv_in.forward = lambda x: x", "the attribute forward of prior.unet.conv_in"),
    ("prior.unet.register_buffer('mine', torch.zeros(1))", "the buffer mine of prior.unet"),
    ("prior.eps = lambda *a: None", "the attribute eps of prior"),
    ("prior.network = prior.network", "the attribute network of prior"),
    ("prior.prediction = 'v_prediction'", "the attribute prediction of prior"),
    ("type(prior).network = lambda *a: a[1]", "priors.stable_diffusion.StableDiffusion.network"),
    ("priors.guidance.guided_eps = lambda *a: None", "priors.guidance.guided_eps"),
    ("setattr(Method, 'negative', 'dull')", "methods.base.Method.negative"),
    ("torch.randn_like = torch.zeros_like", "torch.randn_like"),
    ("torch.nn.Conv2d.forward = lambda self, x: x", "torch.nn.modules.conv.Conv2d.forward"),
    ("np.sqrt = np.abs", "numpy.sqrt"),
    ("sys.modules['priors.guidance'] = torch", "priors.guidance"),
]


@pytest.mark.parametrize("part", ["start", "gradient"])
@pytest.mark.parametrize(("change", "said"), CHANGES, ids=[c for c, _ in CHANGES])
def test_a_change_of_what_all_share_is_named_with_its_line(tmp_path, prior, part, change, said):
    made = rule(tmp_path, **{part: change})
    with pytest.raises(RuleError, match=rf"mine.py:{LINES[part.upper()]}: Mine\.{part} changed .*{said}"):
        train(made, prior)


@pytest.mark.parametrize("change", ["views.text.plain.mul_(0.5)", "views.text.front.data.zero_()"])
@pytest.mark.parametrize("part", ["gradient", "learn"])
def test_a_change_of_the_texts_is_named(tmp_path, prior, part, change):
    with pytest.raises(RuleError, match=rf"mine.py:{LINES[part.upper()]}: Mine\.{part} changed views\.text"):
        train(rule(tmp_path, **{part: change}), prior)


def test_a_late_change_is_found_before_it_is_saved(tmp_path, prior):
    made = rule(tmp_path, gradient="if views.progress > 0.2: prior.unet.conv_in.weight.data.mul_(0.9)")
    with pytest.raises(RuleError, match=rf"mine.py:{LINES['GRADIENT']}.*changed {WEIGHT}"):
        train(made, prior, steps=6)


PATCHES = [
    ("priors.guidance.guided_eps = None", guidance, "guided_eps"),
    ("from priors.base import Prior; Prior.eps = None", Prior, "eps"),
    ("from priors.schedule import Schedule; setattr(Schedule, 'noised', None)", Schedule, "noised"),
    ("from priors import stable_diffusion as sd; sd.StableDiffusion.network = None", SD, "network"),
    ("torch.nn.functional.silu = None", torch.nn.functional, "silu"),
]  # fmt: skip


@pytest.mark.parametrize(("patch", "place", "name"), PATCHES, ids=[p[0] for p in PATCHES])
def test_code_that_a_file_replaces_as_it_is_read_is_put_back_and_named(tmp_path, prior, patch, place, name):
    before = getattr(place, name)
    made = rule(tmp_path, **{"import": patch})
    assert getattr(place, name) is before
    with pytest.raises(RuleError, match=rf"mine.py:{LINES['IMPORT']}: Mine's file changed .*{name}"):
        made.start(prior)


FLAGS = [
    "torch.set_default_dtype(torch.float64)",
    "torch.set_num_threads(torch.get_num_threads() + 1)",
    "torch.set_grad_enabled(False)",
    "torch.use_deterministic_algorithms(not torch.are_deterministic_algorithms_enabled())",
    "torch.backends.cudnn.benchmark = True",
    "torch.backends.mkldnn.enabled = False",
    "torch.set_float32_matmul_precision('high')",
    "torch.set_flush_denormal(True)",
    "torch.autograd.set_detect_anomaly(True, check_nan=False)",
    "torch.set_autocast_enabled('cpu', True)",
    "torch.nn.modules.module.register_module_forward_hook(lambda *a: None)",
    "torch.manual_seed(3)",
    "np.random.seed(3); random.seed(3)",
    "np.seterr(all='raise')",
    "sys.path.insert(0, '/nowhere')",
    "os.environ.update(MINE='1'); os.environ.pop('HOME', None)",
    "os.chdir('/')",
    "sys.setrecursionlimit(5000)",
]
HINDERING = ["torch.set_default_device('meta')", "warnings.filterwarnings('error')"]
SEEN = []  # `everything`, as the rule's code found it after it had set its flags


def everything():
    numbers = {"torch": torch.get_rng_state().tolist(), "numpy": np.random.get_state()[1].tolist()}
    process = {"filters": list(warnings.filters), "here": os.getcwd(), "paths": list(sys.path)}
    return shelter.flags() | numbers | process | {"python": random.getstate(), "variables": dict(os.environ)}


@pytest.mark.parametrize(
    ("flags", "set_by_them"),
    [(FLAGS, 22), (HINDERING, 3)],  # one of the flags is turned over: twice is back again
    ids=["all", "in which nothing computes"],
)
def test_settings_of_the_process_leave_no_trace(tmp_path, prior, flags, set_by_them):
    text = make_text(prior, jobs.PROMPT.text)
    views = views_of(torch.ones(1, 4, 8, 8), text)
    views = replace(views, image=torch.zeros(1, 3, 32, 32))
    before = everything()
    look = f"from {__name__} import SEEN, everything; SEEN.append(everything())"
    for parts, calls in ((("import",), 1), (("post",), 1), (("start",), 1), (("gradient", "learn"), 2)):
        SEEN.clear()
        made = rule(tmp_path, **dict.fromkeys(parts, "; ".join([*flags, look])))
        assert everything() == before
        with_fields(pickle.loads(pickle.dumps(made)))
        assert everything() == before
        job = made.start(prior)
        assert everything() == before
        for call in (made.gradient, made.learn):
            with contextlib.suppress(RuleError if flags is HINDERING else ()):  # of a device that computes nothing
                call(views, prior, job)
            assert everything() == before
        assert len(SEEN) >= calls
        assert all(len(shelter.changed(before, seen)) >= set_by_them for seen in SEEN)


def test_what_a_file_or_start_sets_is_in_force_for_the_rule(tmp_path, prior):
    said = "assert torch.get_default_dtype() == torch.float64"
    for part in ("import", "post", "start"):
        train(
            rule(tmp_path, **{part: "torch.set_default_dtype(torch.float64)", "gradient": said, "learn": said}), prior
        )


def test_views_are_the_rules_own(tmp_path, prior):
    spoil = "views.x0.zero_(); views.image.fill_(2); views.cameras.c2w.zero_(); views.cameras.azimuth.add_(9)"
    plain, spoilt = (train(rule(tmp_path, learn=part), prior).tensors() for part in ("pass", spoil))
    assert all(torch.equal(plain[name], spoilt[name]) for name in plain)


NUMBERS = "x = torch.randn(()) + np.random.rand() + random.random(); return Guidance(x * torch.ones_like(views.x0))"


def test_global_random_numbers_are_those_of_the_seed_and_kept(tmp_path, prior):
    made, scenes = rule(tmp_path, gradient=NUMBERS), []
    for seeds in ((0, 1), (1,)):
        for seed in seeds:
            torch.randn(seed + 3), random.random()
            scenes.append(train(made, prior, steps=4, seed=seed).tensors())
    assert all(torch.equal(scenes[1][name], scenes[2][name]) for name in scenes[1])
    assert any(not torch.equal(scenes[0][name], scenes[1][name]) for name in scenes[0])
    whole, parts = train(made, prior, steps=4), train(made, prior, steps=2)
    write_tensors(tmp_path / "checkpoint", parts.tensors(), parts.facts())
    again = train(made, prior, steps=1)
    again.restore(*read_tensors(tmp_path / "checkpoint"))
    assert [again.advance(), again.advance()][1]["g_rms"] == train(made, prior, steps=3).advance()["g_rms"]
    assert all(torch.equal(v, again.tensors()[name]) for name, v in whole.tensors().items())


REMEMBERED = [
    ("GEN = torch.Generator().manual_seed(0)", "x = torch.randn((), generator=GEN)"),
    ("GEN = np.random.default_rng(0)", "x = GEN.normal()"),
    ("GEN = random.Random(0)", "x = GEN.random()"),
    ("X = 0", "global X; X += 1; x = X"),
    ("X = {'seen': 0, 'more': [0]}", "X['seen'] += 1; X['more'].append(X['seen']); x = sum(X['more'])"),
    ("X = torch.zeros(())", "X.add_(1); x = X.clone()"),
    ("X = np.zeros(2)", "X[0] += 1; x = float(X.sum())"),
    ("class A: n = 0", "A.n += 1; x = A.n"),
    ("class A: n = 0\nX = A()", "X.n += 1; x = X.n"),
    ("pass", "object.__setattr__(self, 'seen', getattr(self, 'seen', 0) + 1); x = self.seen"),
    (
        "def counter():\n    n = 0\n    def up():\n        nonlocal n; n += 1; return n\n    return up\nX = counter()",
        "x = X()",
    ),
    ("def f(seen=[], *, more={'n': 0}): seen.append(1); more['n'] += 1; f.n = len(seen) + more['n']", "f(); x = f.n"),
    ("from collections import deque\nX = deque([1], maxlen=3)", "X.append(sum(X)); x = sum(X)"),
    ("X = {1, 2}; Y = ()", "global Y; X.add(len(X) + 1); Y += (len(X),); x = len(X) + sum(Y)"),
    ("X = [4, 3, 2, 1, 1]", "X.pop(); x = sum(X) + len(X)"),
    ("X = []", "X.extend([1.0] * 600); x = len(X)"),
    ("class A:\n    __slots__ = ('n',)\nX = A(); X.n = 0", "X.n += 1; x = X.n"),
    (
        "X = torch.nn.Linear(1, 1); O = torch.optim.Adam(X.parameters(), .1)",
        "torch.set_grad_enabled(True); O.zero_grad(); x = X(torch.ones(1)).sum(); x.backward(); O.step(); x = x.item()",
    ),
]


@pytest.mark.parametrize(("where", "use"), REMEMBERED, ids=[use for _, use in REMEMBERED])
def test_what_a_rule_remembers_elsewhere_goes_through_a_checkpoint(tmp_path, prior, where, use):
    def fresh():
        for name in [name for name in sys.modules if name.startswith("rule_")]:
            del sys.modules[name]
        return rule(tmp_path, **{"import": where, "gradient": f"{use}; return Guidance(x * torch.ones_like(views.x0))"})

    whole = train(fresh(), prior, steps=2)
    write_tensors(tmp_path / "checkpoint", whole.tensors(), whole.facts())
    whole.advance(), whole.advance()
    again = train(fresh(), prior, steps=0)
    again.restore(*read_tensors(tmp_path / "checkpoint"))
    logs = [again.advance()["g_rms"], again.advance()["g_rms"]]
    assert all(torch.equal(v, again.tensors()[name]) for name, v in whole.tensors().items() if "scene" in name)
    assert logs[1] != logs[0]


def test_numbers_drawn_as_a_file_is_read_are_the_same_in_every_process(tmp_path):
    drawn = []
    for _ in range(2):
        module = type(rule(tmp_path, **{"import": "NOISE = torch.randn(3)"}).rule).__module__
        drawn.append(sys.modules.pop(module).NOISE)
        started.IMPORTED.pop(module)
        torch.randn(5)
    assert torch.equal(*drawn)


@pytest.mark.parametrize(
    "harmless",
    [
        "h = prior.unet.register_forward_hook(lambda *a: None); prior.unet.zero_grad(); h.remove()",
        "w = prior.unet.conv_in.weight; torch.no_grad().__enter__(); old = w.clone(); w.mul_(3); w.copy_(old)",
        "prior.embed(['a red ball', ', side view'])",
        "import copy; net = copy.deepcopy(prior.unet).train().requires_grad_(True); net.conv_in.weight.data.zero_()",
        "prior.nfe += 1; prior.rows += 1",
        "prior.decode(torch.zeros(1, 4, 8, 8)); prior.unet.eval(); prior.unet.requires_grad_(False)",
    ],
)
@pytest.mark.parametrize("part", ["start", "gradient", "learn"])
def test_what_leaves_all_as_it_was_is_allowed(tmp_path, prior, part, harmless):
    train(rule(tmp_path, **{part: harmless}), prior)


def test_a_student_over_the_priors_weights_is_allowed(tmp_path, prior):
    (tmp_path / "vsd.py").write_text(
        "from dataclasses import dataclass\nfrom methods.vsd import VSD\n\n"
        "@dataclass(frozen=True)\nclass Mine(VSD):\n    scale: float = 3.0\n"
    )
    train(load(f"{tmp_path / 'vsd.py'}:Mine"), prior, steps=3)


WORDLESS = "class E(Exception):\n    def __str__(self): raise ValueError"


@pytest.mark.parametrize("error", ["SystemExit(3)", "KeyboardInterrupt", "GeneratorExit", "BaseException('odd')", "E"])
def test_whatever_a_rule_raises_ends_the_job_alone(tmp_path, prior, monkeypatch, error):
    monkeypatch.setattr("signal.getsignal", lambda _: signal.SIG_IGN)  # as in a job's process
    with pytest.raises(RuleError, match=rf"mine.py:\d+: {error.partition('(')[0]}"):
        train(rule(tmp_path, **{"import": WORDLESS, "gradient": f"raise {error}"}), prior)


def test_ctrl_c_while_a_rule_runs_here_is_the_users(tmp_path, prior):
    with pytest.raises(KeyboardInterrupt):
        train(rule(tmp_path, gradient="raise KeyboardInterrupt"), prior)


def test_the_first_optimiser_of_a_kind_is_no_change_of_the_rule():
    kind = torch.optim.ASGD
    kind.step = inspect.unwrap(kind.step)
    before = guard.code()
    kind([torch.zeros(1, requires_grad=True)])
    assert guard.changed_code(before) is None
    kind.step = lambda self: None
    assert guard.changed_code(before) == "torch.optim.asgd.ASGD.step"
