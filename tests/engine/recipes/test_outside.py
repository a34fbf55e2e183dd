"""A rule from a file: loaded, carried to other processes, and every mistake in it one sentence with its line."""

import os
import pickle
import sys
from dataclasses import replace
from io import StringIO
from multiprocessing import Pipe
from types import SimpleNamespace

import pytest
import torch
from rich.console import Console
from safetensors.torch import load_file

from engine import calibrate, worker
from engine.optimize import Stopped
from engine.recipes import source
from engine.recipes.outside import load
from engine.recipes.variants import Variant, named, recipe_of
from engine.store import Store
from errors import RuleError, UserError
from methods.base import Guidance
from tests.engine import jobs
from tests.helpers import views_of
from tests.tiny import write_prior

HEAD = "from dataclasses import dataclass\nimport torch\nfrom methods.base import Guidance, Method\n\n"
RULE = (
    HEAD
    + """@dataclass(frozen=True)
class Mine(Method):
    scale: float = 2.0

    def gradient(self, views, prior, state):
        BODY
"""
)
LINE = 10  # of BODY
UNCHECKED = "out = Guidance(views.x0); object.__setattr__(out, '{}', {}); return out"  # by what tests check by types


def write(folder, body="return Guidance(self.scale * views.x0)", text=RULE, name="mine.py"):
    file = folder / name
    file.write_text(text.replace("BODY", body))
    return f"{file}:Mine"


def pull(rule):
    prior = jobs.prior()
    return rule.gradient(views_of(torch.ones(1, 3, 8, 8), text()), prior, rule.start(prior))


def text():
    from tests.helpers import mixture

    return mixture()[1]


def test_a_rule_runs_and_goes_to_other_processes_with_its_source(tmp_path):
    rule = load(write(tmp_path))
    sent = pickle.dumps(replace(rule, rule=replace(rule.rule, scale=3.0)))
    (tmp_path / "mine.py").unlink()  # no process reads the file again
    other = pickle.loads(sent)
    assert pull(rule).latent.unique().tolist() == [2.0]
    assert pull(other).latent.unique().tolist() == [3.0]
    assert (other.name, other.source) == ("Mine", rule.source)


def test_an_edited_rule_is_another_result(tmp_path):
    keys = set()
    for body in ("return Guidance(views.x0)", "return Guidance(2 * views.x0)"):  # of one length in one second, too
        keys.add(jobs.job(load(write(tmp_path, body))).key("prior"))
        assert jobs.job(load(write(tmp_path, body))).key("prior") in keys
    assert len(keys) == 2


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (RULE.replace("BODY", "return ("), rf":{LINE}: SyntaxError"),
        ("import nowhere_at_all\n", ":1: ModuleNotFoundError: No module named 'nowhere_at_all'"),
        ("x = 1\n", "no class in"),
        ("class Nine:\n    pass\n", "did you mean|known: Nine"),
        ("\nclass Mine:\n    pass\n", ":2: Mine has no gradient"),
        ("class Mine:\n    def gradient(self, views, prior, state): ...\n", ":1: Mine is not a frozen dataclass"),
        (HEAD + "class Mine(Method):\n    def gradient(self, views): ...\n", ":5: Mine.gradient takes other arguments"),
        (RULE.replace("float = 2.0", "float"), r":6: Mine\(\) failed: TypeError: .*scale"),
        (RULE.replace("2.0", "torch.ones(2)"), ":6: Mine has a field that is no number"),
        (RULE + "    guidance_weight = -1\n", ":6: Mine.guidance_weight is -1, not a number above 0"),
    ],
)
def test_mistakes_in_the_file_are_one_sentence(tmp_path, text, said):
    with pytest.raises(UserError, match=said) as caught:
        load(write(tmp_path, text=text))
    assert "\n" not in str(caught.value)
    assert "mine.py" in str(caught.value)


@pytest.mark.parametrize(
    ("body", "said"),
    [
        ("return {}['a']", f"mine.py:{LINE}: KeyError: 'a'"),
        ("return views.x0", "mine.py:9: Mine.gradient returned a Tensor, not a Guidance"),
        ("return Guidance(views.x0[..., :3])", r"latent has shape \(1, 3, 8, 3\) on cpu, not \(1, 3, 8, 8\)"),
        ("return Guidance(views.x0, views.image[:, :1])", r"image has shape \(1, 1, 8, 8\)"),
        (UNCHECKED.format("latent", "views.x0.long()"), "of torch.int64, not a tensor of floats"),
        (UNCHECKED.format("latent", "None"), "a NoneType, not a tensor of floats"),
        (UNCHECKED.format("log", "{'t': 'late'}"), "log that is not a dict of numbers"),
    ],
)
def test_what_a_rule_returns_is_looked_at(tmp_path, body, said):
    with pytest.raises(RuleError, match=said):
        pull(load(write(tmp_path, body)))


def test_a_gradient_follows_the_latents_dtype_and_the_loop_keeps_its_step(tmp_path):
    body = "return Guidance(views.x0.double(), log={'step': 7.0, 't': 3.0})"
    out = pull(load(write(tmp_path, body)))
    assert isinstance(out, Guidance)
    assert (out.latent.dtype, out.log) == (torch.float32, {"t": 3.0})


def test_state_that_cannot_be_saved_is_refused(tmp_path):
    rule = load(write(tmp_path, text=RULE + "    def start(self, prior):\n        return 3\n"))
    with pytest.raises(RuleError, match="returned a int without state_dict"):
        rule.start(jobs.prior())


def test_a_rule_that_needs_no_base_class(tmp_path):
    rule = load(write(tmp_path, text=RULE.replace("(Method)", "")))
    prior = jobs.prior()
    state = rule.start(prior)
    learnt = rule.learn(views_of(torch.ones(1, 3, 8, 8), text()), prior, state)
    assert (rule.negative, state.state, learnt) == ("", None, {})
    assert pull(rule).latent.shape == (1, 3, 8, 8)


def test_a_broken_rule_ends_its_job_and_the_next_goes_on(tmp_path, monkeypatch):
    """In the worker: a record with file and line, nothing fatal; a gradient that is no number is the loop's to see."""
    jobs.keep_process(monkeypatch)
    monkeypatch.setattr("engine.prior.open_prior", lambda *_: jobs.prior())
    rules = [
        write(tmp_path, body, name=f"r{k}.py") for k, body in enumerate(("1 / 0", "return Guidance(views.x0 / 0)"))
    ]
    work = [jobs.job(load(rules[0]), seed=0), jobs.job(load(rules[1]), seed=1), jobs.job(seed=2, steps=2)]
    here, there = Pipe()
    for job in work:
        here.send([(job, {"key": job.key("none")})])
    here.send([])  # no more: ends the loop
    worker.main(there, tmp_path / "run", jobs.SETUP)
    records = [Store(tmp_path / "run", job).record() for job in work]
    assert [r["status"] for r in records] == ["crashed", "non-finite", "finished"]
    assert records[0]["cause"] == f"{rules[0].removesuffix(':Mine')}:{LINE}: ZeroDivisionError: division by zero"


def test_rows_do_not_share_a_name(tmp_path):
    clash = write(tmp_path, text=RULE.replace("Mine", "SDS")).replace("Mine", "SDS")
    with pytest.raises(UserError, match="would share its row with sds"):
        named([clash], [], "world", "controlled")
    two = [write(tmp_path), write(tmp_path, name="other.py")]
    with pytest.raises(UserError, match="would share its row"):
        named(two, [], "world", "controlled")
    assert [v.name for v in named(["sds", two[0], "sds"], [], "world", "controlled")] == ["sds", "Mine"]


def test_a_rule_from_a_file_gets_what_all_have_in_the_controlled_track(tmp_path):
    from engine.recipes.tables import recipe

    made, unknown = recipe_of(Variant("Mine", write(tmp_path)), "world", "controlled")
    sds = recipe("world", "controlled", "sds")
    assert unknown
    assert replace(made, name="sds", method=sds.method, guidance_weight=sds.guidance_weight) == sds
    stated = write(tmp_path, text=RULE + "    guidance_weight = 0.5\n", name="stated.py")
    made, unknown = recipe_of(Variant("Mine", stated), "world", "controlled")
    assert (made.guidance_weight, unknown) == (0.5, False)


@pytest.fixture
def here(monkeypatch):
    """Weights are measured in this process, on a prior that costs nothing."""
    monkeypatch.setattr(calibrate, "apart", calibrate._here)
    monkeypatch.setattr(calibrate, "open_prior", lambda *_: jobs.prior())
    monkeypatch.setattr(calibrate, "SUITES", {"world": SimpleNamespace(select=lambda _: (jobs.PROMPT,))})


def measure(run, rule, prior, console=None):
    made = replace(jobs.recipe(rule, regularisers=()), name="Mine", steps=4)
    return calibrate.measured(run, made, str(prior), "w", "cpu", console or Console(file=StringIO()))


def test_a_weight_is_measured_once_and_again_for_another_class(tmp_path, monkeypatch, here):
    two = RULE.replace("BODY", "return Guidance(torch.full_like(views.x0, 4.0))")
    two += two.removeprefix(HEAD).replace("Mine", "Other").replace("4.0", "8.0")
    first = load(write(tmp_path, text=two))
    assert measure(tmp_path / "run", first, "p").guidance_weight == 0.25
    assert measure(tmp_path / "run", load(f"{tmp_path}/mine.py:Other"), "p").guidance_weight == 0.125
    monkeypatch.setattr(calibrate, "weight", None)  # from here on it would fail
    assert measure(tmp_path / "run", first, "p").guidance_weight == 0.25


def test_a_rule_that_cannot_be_measured_says_so_and_runs(tmp_path, monkeypatch, here):
    for k, (body, cause) in enumerate(
        (("1 / 0", "division by zero"), ("return Guidance(0 * views.x0)", "its gradient is 0"))
    ):
        heard = StringIO()
        rule = load(write(tmp_path, body, name=f"r{k}.py"))
        assert measure(tmp_path / "run", rule, "p", Console(file=heard, width=300)).guidance_weight == 1.0
        assert cause in heard.getvalue()
    assert not (tmp_path / "run").exists()


def test_a_rule_that_ends_its_process_is_measured_in_one_of_its_own(tmp_path):
    prior, heard, number = write_prior(tmp_path / "prior"), StringIO(), os.getpid()
    body = f"import os; assert os.getpid() != {number}; os._exit(0)"
    rule = load(write(tmp_path, body))
    assert measure(tmp_path / "run", rule, prior, Console(file=heard, width=300)).guidance_weight == 1.0
    assert "not measured (its process ended with code 0)" in heard.getvalue()


HELPED = RULE.replace("import torch\n", "import torch\nfrom helper import twice\n")


def help_out(folder, text="def twice(x):\n    return 2 * x\n", name="helper.py"):
    (folder / name).parent.mkdir(parents=True, exist_ok=True)
    (folder / name).write_text(text)


def test_a_helper_beside_the_file_is_a_part_of_the_rule(tmp_path):
    help_out(tmp_path)
    where = write(tmp_path, "return Guidance(twice(views.x0))", HELPED)
    rule = load(where)
    sent, key = pickle.dumps(rule), jobs.job(rule).key("prior")
    help_out(tmp_path, "def twice(x):  # a remark\n    return 2 * x\n")
    assert jobs.job(load(where)).key("prior") == key
    help_out(tmp_path, "def twice(x):\n    return 3 * x\n")
    assert jobs.job(load(where)).key("prior") != key
    assert pull(load(where)).latent.unique().tolist() == [3.0]
    (tmp_path / "helper.py").unlink()
    assert pull(pickle.loads(sent)).latent.unique().tolist() == [2.0]
    assert "helper" not in sys.modules


def test_helpers_of_one_name_do_not_meet(tmp_path):
    pulls = []
    for k in (2, 5):
        help_out(tmp_path / str(k), f"def twice(x):\n    return {k} * x\n")
        pulls.append(load(write(tmp_path / str(k), "return Guidance(twice(views.x0))", HELPED)))
    assert [pull(rule).latent.unique().tolist() for rule in pulls] == [[2.0], [5.0]]


@pytest.mark.parametrize(
    "use",
    [
        "from helper import twice",
        "import helper; twice = helper.twice",
        "import helper as h; twice = h.twice",
        "from .helper import twice",
        "from parts.sums import twice",
        "import parts.sums; twice = parts.sums.twice",
        "from parts import sums; twice = sums.twice",
        "from parts import twice",
        "from bare.sums import twice",
        "from state import twice",  # the program has a module of this name
    ],
)
def test_helpers_are_imported_in_every_way(tmp_path, use):
    for name in ("helper.py", "parts/sums.py", "bare/sums.py", "state.py"):
        help_out(tmp_path, name=name)
    help_out(tmp_path, "from .sums import twice\n", "parts/__init__.py")
    body = "return Guidance(twice(views.x0))"
    assert pull(load(write(tmp_path, body, RULE.replace("import torch\n", f"import torch\n{use}\n")))).latent.max() == 2
    late = load(write(tmp_path, f"{use}; {body}", name="late.py"))
    sent = pickle.dumps(late)
    for file in tmp_path.rglob("*.py"):
        file.unlink()
    assert pull(pickle.loads(sent)).latent.max() == 2
    assert {"helper", "parts", "bare"}.isdisjoint(sys.modules)


@pytest.mark.parametrize("name", ["torch.py", "random.py", "methods.py", "priors/__init__.py", "numpy/__init__.py"])
def test_what_lies_beside_the_file_hides_nothing(tmp_path, name):
    help_out(tmp_path, "raise SystemError('of another project')\n", name)
    text = RULE.replace("import torch\n", "import random, torch, numpy\nfrom priors.schedule import per_item\n")
    assert pull(load(write(tmp_path, text=text))).latent.max() == 2


def test_mistakes_in_helpers_are_named_there(tmp_path):
    for text, said in (
        ("x = (\n", "helper.py:1: SyntaxError"),
        ("def twice(x):\n    return x.nothing\n", "helper.py:2: AttributeError"),
        ("import torch\nimport nowhere\n", "helper.py:2: ModuleNotFoundError: No module named 'nowhere'"),
        ("", "mine.py:3: ImportError: cannot import name 'twice' from 'helper'"),
    ):
        help_out(tmp_path, text)
        with pytest.raises((UserError, RuleError), match=said):
            pull(load(write(tmp_path, "return Guidance(twice(views.x0))", HELPED)))


def test_a_mark_of_byte_order_is_no_part_of_a_file(tmp_path):
    help_out(tmp_path, "\ufeffdef twice(x):\n    return 2 * x\n")
    assert pull(load(write(tmp_path, "return Guidance(twice(views.x0))", "\ufeff" + HELPED))).latent.max() == 2


def test_a_remark_is_no_other_rule_and_shared_algebra_is_a_part_of_it(tmp_path, monkeypatch):
    rule = load(write(tmp_path))
    assert load(write(tmp_path, text=RULE + "# a remark\n")).source == rule.source
    monkeypatch.setattr(source, "digest_of_module", lambda name, rooms: f"another {name}")
    assert load(write(tmp_path)).source != rule.source


def test_a_built_in_rules_code_is_in_its_key(monkeypatch):
    from engine.recipes import outside

    key = jobs.job().key("prior")
    assert jobs.job().key("prior") == key
    monkeypatch.setattr(outside, "digest_of_module", lambda name, rooms: f"another {name}")
    assert jobs.job().key("prior") != key


STATEFUL = (
    RULE.replace("BODY", "return Guidance(views.x0)")
    + """
    def start(self, prior):
        return State()

    def learn(self, views, prior, state):
        state.opt.zero_grad()
        loss = state.net(views.x0.mean((2, 3))).square().mean()
        loss.backward()
        state.opt.step()
        state.seen += 1
        return {"loss": loss.item()}

class State:
    def __init__(self):
        self.net, self.seen = torch.nn.Linear(3, 3), 0
        self.opt = torch.optim.Adam(self.net.parameters(), 1e-2)

    def state_dict(self):
        return KEPT

    def load_state_dict(self, kept):
        self.net.load_state_dict(kept["net"]), self.opt.load_state_dict(kept["opt"])
        self.seen = kept["counts"]["seen"][0]
"""
)
KEPT = '{"net": self.net.state_dict(), "opt": self.opt.state_dict(), "counts": {"seen": [self.seen]}}'


def test_nested_states_and_plain_values_go_through_a_checkpoint(tmp_path):
    rule = load(write(tmp_path, text=STATEFUL.replace("KEPT", KEPT)))
    job = jobs.job(rule, steps=6)
    jobs.do(tmp_path / "whole", job)
    for steps in (1, 2):
        with pytest.raises(Stopped):
            jobs.do(tmp_path / "parts", job, jobs.Deaf(steps))
    jobs.do(tmp_path / "parts", job)
    whole, parts = (load_file(tmp_path / run / job.path / "scene.safetensors") for run in ("whole", "parts"))
    assert all(torch.equal(whole[name], parts[name]) for name in whole)
    logs = [(tmp_path / run / job.path / "log.jsonl").read_text() for run in ("whole", "parts")]
    assert logs[0] == logs[1]


@pytest.mark.parametrize(
    ("kept", "said"),
    [
        ('{"net": self.net}', "net is a Linear, which a checkpoint cannot keep"),
        ('{"seen": {1, 2}}', "seen is a set"),
        ('{"a": {1.5: 0}}', "a has a key 1.5"),
        ('{"a": torch.ones(2).to_sparse()}', "a is a sparse"),
        ("{}", "KeyError: 'net'"),
        ("self.nothing", "AttributeError"),
    ],
)
def test_a_state_that_cannot_be_kept_is_refused_before_any_work(tmp_path, kept, said):
    text = STATEFUL.replace("KEPT", kept)
    with pytest.raises(RuleError, match=rf"mine.py:\d+: what Mine.start returned cannot be kept .*{said}"):
        load(write(tmp_path, text=text)).start(jobs.prior())


def test_a_file_that_another_process_cannot_read_costs_its_own_jobs_alone(tmp_path):
    sent = pickle.dumps(load(write(tmp_path, text=RULE + "\nimport os\nassert 'NO_RULES' not in os.environ\n")))
    for name in [name for name in sys.modules if name.startswith("rule_")]:
        del sys.modules[name]
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("NO_RULES", "1")
        there = pickle.loads(sent)
    with pytest.raises(RuleError, match=r"mine.py:13: AssertionError"):
        there.start(jobs.prior())


def test_the_template_is_a_rule():
    rule = load("docs/my_rule.py:MyRule")
    job = jobs.job(rule, steps=2)
    from engine.training import Training

    training = Training(job, jobs.prior(), "cpu")
    assert training.advance()["nfe"] == 1
