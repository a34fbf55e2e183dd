from dataclasses import fields, is_dataclass, replace

import pytest
import torch

import names
from engine import training
from engine.job import Job
from engine.recipes import tables as recipes
from engine.recipes.base import REGULARIZERS, Orbit, Recipe, Shading, Weight
from engine.recipes.tables import recipe
from engine.views import evaluate
from errors import UserError
from methods.sds import SDS
from priors import stable_diffusion
from priors.text import ViewWords
from scene.cameras import CameraRange
from suites import SUITES
from tests.engine import jobs

ALL = [(suite.name, track, name) for suite in SUITES.values() for track in suite.tracks for name in names.RECIPES]


def test_the_names_of_the_command_line_are_those_of_the_tables():
    assert {name: row.words for name, row in recipes.TABLE.items()} == names.RECIPES
    assert {track for suite in SUITES.values() for track in suite.tracks} == {*names.TRACKS} - {names.TUNED}
    assert {family for suite in SUITES.values() for family in suite.tracks.values()} <= set(recipes.FAMILIES)
    assert names.RANDOM == stable_diffusion.RANDOM


@pytest.mark.parametrize(("suite", "track", "name"), ALL)
def test_a_recipe_says_what_it_is(suite, track, name):
    made = recipe(suite, track, name)
    assert (made.suite, made.track, made.name) == (suite, track, name)
    assert {regulariser for regulariser, _ in made.regularisers} <= set(REGULARIZERS)
    assert hash(made) == hash(recipe(suite, track, name))  # equal recipes are equal


def test_in_the_controlled_track_only_the_rule_and_its_weight_differ():
    made = [recipe("world", "controlled", name) for name in names.RECIPES]
    same = {replace(r, name="", method=SDS(), guidance_weight=1.0) for r in made}
    assert len(same) == 1
    assert len({r.method for r in made}) == len(made)


def test_the_published_recipes():
    """DreamFusion's loss is a sum over latents, the official SDI's a mean: 16,384 apart. Its CFG of 100 is 101 here."""
    sds, official = recipe("paper", "paper", "sds"), recipe("paper", "paper", "sdi-official")
    assert sds.guidance_weight / official.guidance_weight == 16_384
    assert sds.method.scale == 101
    assert (sds.resolution, official.resolution) == (64, 512)
    assert sds.steps == official.steps == 10_000
    weights = dict(official.regularisers)
    assert weights["sparsity"].at(0.15) == pytest.approx(0.075)
    assert weights["sparsity"].at(0.3) == 0
    assert weights["convexity-official"].at(0.2) == pytest.approx(0.55)
    assert dict(sds.regularisers)["orient"].at(0.25) == pytest.approx(505)
    assert dict(recipe("paper", "paper", "sdi").regularisers)["convexity"].at(0.41) == 0


def test_the_published_recipes_of_other_scenes():
    """SJC has no encoder in its loop, ISM's loss is not divided by its batch, HiFA's cube is half as wide."""
    sjc, ism, hifa = (recipe("paper", "paper", name) for name in ("sjc", "ism", "hifa"))
    assert (sjc.scene.channels, sjc.scene.size, sjc.optimizer, sjc.lr) == (4, 100, "adamax", 0.05)
    emptiness = dict(sjc.regularisers)["emptiness"]
    assert (emptiness.at(0.0), emptiness.at(0.5), emptiness.at(0.5001)) == (1e4, 1e4, 2e5)
    assert (ism.batch, ism.guidance_weight, ism.steps, ism.resolution) == (4, 4.0, 5_000, 512)
    assert (hifa.scene.radius, hifa.steps, hifa.method.scale) == (1.0, 25_000, 101.0)
    distances = [r.orbit.distance for r in (sjc, hifa, ism, recipe("paper", "paper", "sdi"))]
    assert distances == [1.5, 1.5, 2.0, 2.0]  # the upper end of training's
    assert {r.shading.draw(0.99, torch.Generator()) for r in (sjc, ism, hifa)} == {"albedo"}


def test_in_the_world_no_rule_asks_for_words_that_its_prior_has_not_learnt():
    for track in ("controlled", "paper"):
        assert not any(recipe("world", track, name).method.negative for name in names.RECIPES)
    assert all(recipe("paper", "paper", name).method.negative for name in ("ism", "nfsd", "csd"))
    scenes = {type(recipe("world", "controlled", name).scene).__name__ for name in names.RECIPES}
    assert scenes == {"NeRFConfig"}
    assert recipe("world", "paper", "sjc").scene.channels == 8


@pytest.mark.parametrize("name", ["vsd", "esd"])
def test_recipes_with_a_student(name):
    """threestudio's ProlificDreamer: 25,000 steps, networks in half precision, no shading, a cube of 1, opaque from
    10,000 on, MLPs at a tenth of the grid's rate. In the world's 300 steps phi learns at a higher rate."""
    paper = recipe("paper", "paper", name)
    assert (paper.steps, paper.half, paper.optimizer, paper.scene.radius, paper.scene.mlp_lr) == (
        25_000, True, "adamw", 1.0, 0.1,
    )  # fmt: skip
    assert (paper.cameras.distance, paper.orbit.distance, paper.method.lr) == ((1.0, 1.5), 1.5, 1e-4)
    assert [dict(paper.regularisers)["opaque"].at(p) for p in (0.0, 0.4, 10_001 / 25_000, 1.0)] == [0, 0, 1000, 1000]
    assert paper.method.late_from * paper.steps == 5001
    assert all(recipe("world", track, name).method.lr > 1e-4 for track in SUITES["world"].tracks)


@pytest.mark.parametrize(
    ("weight", "progress", "value"),
    [
        (Weight(2, 4), 0.25, 2.5),
        (Weight(2, 4, begin=0.5), 0.25, 2.0),
        (Weight(2, 4, end=0.5), 0.25, 3.0),
        (Weight(2, 4, end=0.5), 0.9, 4.0),
        (Weight(2, 4, until=0.4), 0.41, 0.0),
        (Weight(2, 4, begin=0.5, end=0.5), 0.4999, 2.0),
        (Weight(2, 4, begin=0.5, end=0.5), 0.5, 4.0),
        (Weight(2, 4, begin=0.5, end=0.5), 1.0, 4.0),
        (Weight(2, 4, begin=0.0, end=0.0), 0.0, 4.0),
    ],
)
def test_weights_over_progress(weight, progress, value):
    assert weight.at(progress) == value


def test_shadings_have_their_odds():
    rng, shading = torch.Generator().manual_seed(0), Shading(albedo_until=0.2, diffuse=0.1, textureless=0.3)
    assert {shading.draw(0.19, rng) for _ in range(100)} == {"albedo"}
    drawn = [shading.draw(0.2, rng) for _ in range(2000)]
    assert abs(drawn.count("diffuse") / 2000 - 0.1) < 0.03
    assert abs(drawn.count("textureless") / 2000 - 0.3) < 0.05


def test_names_nobody_knows():
    typos = ((("world", "controlled", "sdi-offical"), "sdi-official"), (("wrld", "paper", "sdi"), "world"))
    for arguments, near in typos:
        with pytest.raises(UserError, match=f"did you mean .*{near}"):
            recipe(*arguments)
    with pytest.raises(UserError, match="--track paper"):
        recipe("paper", "controlled", "sdi")


# ---- every field is read: a job of another value leaves another scene, or other views

FIELD = replace(
    jobs.FIELD, levels=4, start_levels=2, grow_from=0.2, grow_every=0.3, background="learned", occupancy_every=2
)
BASE = jobs.recipe(
    scene=FIELD,
    steps=6,
    cameras=CameraRange(position_jitter=0.05, target_jitter=0.05, up_jitter=0.05),
    shading=Shading(albedo_until=0.3, diffuse=0.4, textureless=0.4),
    regularisers=(("sparsity", Weight(0.5, 0.1, begin=0.1, end=0.8, until=0.9)),),
)
LABELS = ("name", "suite", "track")  # of folders and tables: they change the key, and nothing else
ELSEWHERE = ("half", "words")  # tested by themselves: on a GPU; of texts
OTHER = {
    "method": SDS(scale=2.0, weight="uniform"),
    "optimizer": "adamax",
    "background": "grey",
    "occupancy_decay": 0.1,
    "occupancy_threshold": 0.9,
    "min_weight": 0.1,
    "diffuse": 0.0,
    "textureless": 0.0,
    "albedo_until": 0.9,
    "until": 0.4,
    "regularisers": (),
    "coarse": ((0.5, 0.5),),
}


def leaves(value, path=()):
    """Paths of all fields of nested dataclasses; a regulariser's weight counts as one."""
    for f in fields(value):
        inner = getattr(value, f.name)
        if is_dataclass(inner) and f.name != "method":
            yield from leaves(inner, (*path, f.name))
        else:
            yield (*path, f.name)


def changed(value, path):
    name, *rest = path
    old = getattr(value, name)
    if rest:
        return replace(value, **{name: changed(old, rest)})
    if name in OTHER:
        return replace(value, **{name: OTHER[name]})
    if isinstance(old, tuple):
        return replace(value, **{name: (old[0] + 0.05, old[1] + 0.05)})
    return replace(value, **{name: old * 2 if old else 0.3})


def outcome(made):
    """Scene and views of a job, in one tensor."""
    job = training.Training(Job(made, jobs.PROMPT, 0), jobs.prior(), "cpu")
    for _ in range(made.steps):
        job.advance()
    views = evaluate(job)
    state = [v.double().flatten() for v in job.scene.state_dict().values()]
    return torch.cat([*state, views.rgb.double().flatten()])


@pytest.fixture(scope="module")
def base():
    first = outcome(BASE)
    assert torch.equal(first, outcome(BASE))
    return first


@pytest.mark.parametrize("path", [p for p in leaves(BASE) if p[0] not in LABELS + ELSEWHERE], ids=".".join)
def test_every_field_is_read(base, path):
    other = outcome(changed(BASE, path))
    assert other.shape != base.shape or not torch.equal(other, base)


@pytest.mark.parametrize("name", [f.name for f in fields(Weight)])
def test_every_field_of_a_weight_is_read(base, name):
    (key, weight), *_ = BASE.regularisers
    other = outcome(replace(BASE, regularisers=((key, changed(weight, (name,))),)))
    assert not torch.equal(other, base)


@pytest.mark.parametrize("name", LABELS)
def test_labels_are_part_of_the_key(name):
    job = jobs.job()
    other = replace(job, recipe=replace(job.recipe, **{name: "other"}))
    assert other.key("p") != job.key("p")
    assert job.key("p") != job.key("q")


def test_the_words_of_views_reach_the_prior(monkeypatch):
    """Front and back in their places, which the recipe's table changes for some rules."""
    asked = []
    monkeypatch.setattr(training, "make_text", lambda *given: asked.append(given))
    made = replace(BASE, words=recipe("paper", "paper", "vsd").words)
    training.Training(Job(made, jobs.PROMPT, 0), jobs.prior(), "cpu")
    assert asked[0][1:] == (jobs.PROMPT.text, "", ViewWords(front=30.0, back=30.0))
    assert recipe("paper", "paper", "sjc").words == ViewWords(before=True)


def test_half_precision_is_asked_of_the_prior_on_a_gpu_alone(monkeypatch):
    from engine import prior

    monkeypatch.setattr(stable_diffusion, "load", lambda name, device, dtype, *_: dtype)
    opened = [prior.open_prior.__wrapped__("P", d, h) for d, h in (("cuda", True), ("cuda", False), ("cpu", True))]
    assert opened == [torch.float16, torch.float32, torch.float32]
    assert recipe("paper", "paper", "sds").half
    assert not recipe("world", "controlled", "sds").half


@pytest.mark.parametrize("name", ["vsd", "esd"])
def test_resolution_grows_at_the_same_place_of_a_job_of_any_length_and_size(name):
    """ProlificDreamer's 64 x 64 until step 5,000 of 25,000, then 512 x 512."""
    made = recipe("paper", "paper", name)
    assert [made.resolution_at(step / 25_000) for step in (0, 4_999, 5_000, 24_999)] == [64, 64, 512, 512]
    short = made.changed(steps=20, resolution=64)
    assert [short.resolution_at(step / 20) for step in (0, 3, 4, 19)] == [8, 8, 64, 64]
    assert recipe("world", "paper", name).resolution_at(0.0) == 64


def test_the_command_line_changes_length_size_and_views():
    made = Recipe("sds", SDS(), 1.0).changed(steps=7, resolution=8, views=3)
    assert (made.steps, made.resolution, made.orbit) == (7, 8, Orbit(views=3, resolution=8))
    assert Recipe("sds", SDS(), 1.0).changed() == Recipe("sds", SDS(), 1.0)


def test_a_weight_steps_where_its_authors_do():
    """ProlificDreamer's lambda_opaque is 0 to step 10,000 and 1000 from step 10,001 on."""
    (opaque,) = (w for name, w in recipe("paper", "paper", "vsd").regularisers if name == "opaque")
    assert [opaque.at(step / 25_000) for step in (0, 9_999, 10_000, 10_001, 24_999)] == [0, 0, 0, 1000, 1000]
