"""The toys: one object for a prompt, one screen each. Front is +x, left is +y, up is z; cut to a radius of .56.

To add one: write a function that returns its parts, under `@toy("the prompt, verbatim")`, with `front=True` where a
person could tell its front from its back; add the prompt to `prompts/world.txt`; look at it with
`python -m world.sheet --only "the prompt"`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from world.sdf import (
    Part,
    above,
    around,
    at,
    ball,
    both,
    box,
    cut,
    dots,
    drum,
    egg,
    fade,
    join,
    ring,
    rod,
    segments,
    stripes,
    turn,
    twins,
    where,
    within,
)


@dataclass(frozen=True)
class Toy:
    """An object of the world: its prompt, its parts, and whether it has a front."""

    prompt: str
    parts: list[Part]
    has_front: bool


OBJECTS: dict[str, Toy] = {}


def toy(prompt: str, front: bool = False) -> Callable[[Callable[[], list[Part]]], Callable[[], list[Part]]]:
    """Register the decorated function's parts as the toy of a prompt."""

    def register(build: Callable[[], list[Part]]) -> Callable[[], list[Part]]:
        OBJECTS[prompt] = Toy(prompt, build(), front)
        return build

    return register


WHITE, BLACK, INK = (0.95, 0.94, 0.92), (0.05, 0.05, 0.06), (0.12, 0.12, 0.16)
RED, GREEN, LEAF, BLUE, YELLOW = (
    (0.85, 0.07, 0.08),
    (0.15, 0.55, 0.16),
    (0.2, 0.42, 0.1),
    (0.1, 0.2, 0.8),
    (0.98, 0.8, 0.1),
)
BROWN, TAN, CREAM, PINK, GOLD = (
    (0.4, 0.22, 0.1),
    (0.8, 0.56, 0.3),
    (0.96, 0.88, 0.7),
    (0.95, 0.6, 0.62),
    (0.98, 0.72, 0.08),
)


@toy("A small saguaro cactus planted in a clay pot")
def cactus() -> list[Part]:
    skin = segments(12, (0.1, 0.42, 0.16), (0.2, 0.58, 0.24))
    arm = (0.14, 0.5, 0.2)
    clay = (0.74, 0.34, 0.18)
    return [
        Part(at(0, 0, -0.34, drum(0.17, 0.13, 0.02, top=0.23)), clay),
        Part(at(0, 0, -0.2, drum(0.26, 0.045, 0.02)), (0.82, 0.42, 0.24)),
        Part(at(0, 0, -0.165, drum(0.22, 0.02)), (0.3, 0.18, 0.1)),
        Part(rod((0, 0, -0.2), (0, 0, 0.36), 0.13, 0.12), skin),
        Part(rod((0, 0.1, 0.0), (0, 0.27, 0.02), 0.06), arm, 0.05),
        Part(rod((0, 0.27, 0.02), (0, 0.29, 0.24), 0.065, 0.06), arm, 0.05),
        Part(rod((0, -0.1, 0.1), (0, -0.25, 0.12), 0.055), arm, 0.05),
        Part(rod((0, -0.25, 0.12), (0, -0.27, 0.32), 0.06, 0.055), arm, 0.05),
        Part(at(0, 0, 0.49, around(6, at(0.05, 0, 0, egg(0.05, 0.03, 0.025)))), (0.95, 0.35, 0.6)),
        Part(at(0, 0, 0.5, ball(0.035)), YELLOW),
    ]


@toy("A 3D model of an adorable cottage with a thatched roof", front=True)
def cottage() -> list[Part]:
    wall, beam, glass = (0.95, 0.9, 0.78), (0.36, 0.22, 0.12), (0.45, 0.68, 0.85)
    thatch = stripes(2, 0.06, (0.74, 0.56, 0.24), (0.62, 0.44, 0.17))
    roof = both(
        turn("x", 42, at(0, 0, -0.2, box(0.36, 0.46, 0.5, 0.05))),
        turn("x", -42, at(0, 0, -0.2, box(0.36, 0.46, 0.5, 0.05))),
    )
    window = box(0.02, 0.06, 0.06, 0.005)
    return [
        Part(at(0, 0, -0.41, drum(0.48, 0.025, 0.02)), (0.36, 0.6, 0.24)),
        Part(at(0, 0, -0.18, box(0.27, 0.33, 0.22, 0.01)), wall),
        Part(both(at(0, 0, 0.1, roof), above(-0.06)), thatch),
        Part(at(0.275, 0, -0.26, box(0.015, 0.075, 0.14, 0.01)), (0.6, 0.16, 0.1)),
        Part(at(0.29, 0.045, -0.26, ball(0.014)), GOLD),
        Part(twins(at(0.27, 0.2, -0.18, window)), glass),
        Part(twins(at(0.265, 0.2, -0.18, box(0.02, 0.08, 0.08, 0.005))), beam),
        Part(twins(at(0, 0.33, -0.18, box(0.07, 0.012, 0.07, 0.005))), glass),
        Part(at(-0.275, 0, -0.18, box(0.012, 0.07, 0.07, 0.005)), glass),
        Part(at(-0.14, 0.16, 0.27, box(0.055, 0.055, 0.16, 0.01)), (0.6, 0.3, 0.24)),
        Part(at(0.4, 0, -0.39, box(0.1, 0.06, 0.01, 0.005)), (0.6, 0.58, 0.55)),
        Part(twins(at(0.34, 0.25, -0.35, ball(0.06))), fade(2, -0.38, -0.3, GREEN, (0.95, 0.4, 0.6))),
    ]


@toy("A ripe strawberry")
def strawberry() -> list[Part]:
    flesh = fade(2, -0.45, 0.3, (0.8, 0.03, 0.06), (0.93, 0.12, 0.1))
    berry = join(at(0, 0, 0.12, egg(0.36, 0.36, 0.22)), rod((0, 0, 0.08), (0, 0, -0.38), 0.31, 0.1), blend=0.12)
    leaf = turn("y", 24, at(0.17, 0, 0.0, egg(0.2, 0.085, 0.035)))
    return [
        Part(berry, dots(48, 5.5, (0.98, 0.85, 0.35), flesh)),
        Part(at(0, 0, 0.415, around(6, leaf)), (0.2, 0.6, 0.15)),
        Part(at(0, 0, 0.4, around(6, leaf, phase=30)), (0.12, 0.46, 0.1)),
        Part(rod((0, 0, 0.38), (0.04, 0, 0.53), 0.03), (0.35, 0.6, 0.2), 0.03),
    ]


@toy("An ice cream sundae")
def sundae() -> list[Part]:
    glass, sauce = (0.72, 0.86, 0.93), (0.3, 0.13, 0.06)
    scoop = 0.17
    return [
        Part(at(0, 0, -0.47, drum(0.19, 0.025, 0.015)), glass),
        Part(rod((0, 0, -0.46), (0, 0, -0.28), 0.045), (0.6, 0.76, 0.86), 0.04),
        Part(at(0, 0, -0.14, drum(0.1, 0.15, 0.02, top=0.3)), stripes(2, 0.1, glass, (0.98, 0.72, 0.78))),
        Part(at(0, 0, 0.015, ring(0.295, 0.022)), WHITE),
        Part(at(0.13, 0.08, 0.09, ball(scoop)), (0.97, 0.6, 0.68)),
        Part(at(-0.02, -0.15, 0.09, ball(scoop)), (0.97, 0.9, 0.66)),
        Part(at(-0.12, 0.09, 0.09, ball(scoop)), (0.45, 0.26, 0.14)),
        Part(at(0, 0, 0.25, egg(0.17, 0.17, 0.12)), (0.99, 0.97, 0.93)),
        Part(at(0, 0, 0.3, egg(0.13, 0.13, 0.09)), sauce, 0.03),
        Part(at(0, 0, 0.27, around(5, rod((0.1, 0, 0.04), (0.17, 0, -0.08), 0.03))), sauce, 0.03),
        Part(at(0, 0, 0.43, ball(0.07)), RED),
        Part(rod((0, 0, 0.48), (0.04, 0.03, 0.54), 0.012), GREEN),
        Part(rod((-0.08, -0.05, 0.2), (-0.24, -0.17, 0.46), 0.032), (0.87, 0.66, 0.36)),
    ]


@toy("A blue tulip")
def tulip() -> list[Part]:
    petal = both(at(-0.06, 0, 0.0, egg(0.24, 0.15, 0.25)), above(-0.24))
    dark, pale = (0.08, 0.14, 0.66), (0.25, 0.42, 0.96)
    cup = at(0, 0, 0.27, cut(around(3, at(0.02, 0, 0, petal)), at(0, 0, 0.16, egg(0.15, 0.15, 0.24))))
    inner = at(0, 0, 0.26, cut(around(3, at(0.0, 0, 0, petal), phase=60), at(0, 0, 0.14, egg(0.13, 0.13, 0.24))))
    leaf = join(
        rod((0.02, 0, -0.48), (0.17, 0, -0.2), 0.035, 0.06),
        rod((0.17, 0, -0.2), (0.26, 0, 0.06), 0.06, 0.012),
        blend=0.03,
    )
    return [
        Part(cup, fade(2, 0.05, 0.5, dark, pale)),
        Part(inner, fade(2, 0.05, 0.5, dark, (0.16, 0.3, 0.86))),
        Part(rod((0, 0, -0.5), (0, 0, 0.08), 0.035), (0.28, 0.6, 0.2)),
        Part(around(2, leaf, phase=20), fade(2, -0.5, 0.05, (0.1, 0.4, 0.14), (0.24, 0.62, 0.22)), 0.02),
        Part(rod((0, 0, 0.15), (0, 0, 0.32), 0.03), YELLOW),
    ]


@toy("A cauldron full of gold coins")
def cauldron() -> list[Part]:
    iron = fade(2, -0.4, 0.2, (0.09, 0.09, 0.11), (0.2, 0.2, 0.24))
    pot = cut(at(0, 0, -0.1, egg(0.42, 0.42, 0.36)), at(0, 0, 0.3, box(0.6, 0.6, 0.2)))
    coin = drum(0.1, 0.018, 0.008)
    gold, dark = (0.99, 0.78, 0.12), (0.86, 0.58, 0.04)
    return [
        Part(pot, iron),
        Part(at(0, 0, 0.11, ring(0.36, 0.05)), (0.24, 0.24, 0.28)),
        Part(at(0, 0, 0.1, egg(0.33, 0.33, 0.17)), dots(40, 9, gold, dark)),
        Part(at(0.1, 0.05, 0.26, turn("y", 25, coin)), gold),
        Part(at(-0.09, 0.1, 0.26, turn("x", 30, coin)), (1.0, 0.85, 0.25)),
        Part(at(-0.04, -0.12, 0.26, turn("x", -35, coin)), gold),
        Part(at(0.18, -0.12, 0.2, turn("y", 40, coin)), (1.0, 0.85, 0.25)),
        Part(at(0.0, 0.0, 0.31, turn("y", -20, coin)), gold),
        Part(around(3, rod((0.24, 0, -0.32), (0.3, 0, -0.48), 0.06, 0.05), phase=60), (0.1, 0.1, 0.12), 0.04),
        Part(twins(at(0, 0.43, 0.0, turn("y", 90, ring(0.09, 0.025)))), (0.3, 0.3, 0.34)),
    ]


@toy("A plush dragon toy", front=True)
def dragon() -> list[Part]:
    green, belly, wing, spike = (0.2, 0.62, 0.3), (0.98, 0.86, 0.5), (0.6, 0.2, 0.7), (0.97, 0.55, 0.12)
    body = at(0, 0, -0.16, egg(0.2, 0.22, 0.26))
    return [
        Part(body, within(at(0.17, 0, -0.17, egg(0.2, 0.14, 0.2)), belly, green)),
        Part(at(0.04, 0, 0.23, egg(0.19, 0.19, 0.18)), green, 0.06),
        Part(at(0.2, 0, 0.18, egg(0.11, 0.12, 0.085)), (0.5, 0.8, 0.45), 0.03),
        Part(twins(at(0.305, 0.045, 0.2, ball(0.016))), INK),
        Part(twins(at(0.17, 0.085, 0.29, ball(0.058))), WHITE),
        Part(twins(at(0.215, 0.095, 0.295, ball(0.033))), BLACK),
        Part(twins(rod((0.0, 0.1, 0.36), (-0.04, 0.15, 0.5), 0.04, 0.012)), CREAM),
        Part(twins(rod((0.1, 0.17, -0.08), (0.24, 0.2, -0.12), 0.06)), green, 0.04),
        Part(twins(rod((0.06, 0.15, -0.36), (0.26, 0.18, -0.4), 0.09, 0.08)), green, 0.04),
        Part(twins(at(0.33, 0.18, -0.4, ball(0.045))), belly),
        Part(twins(at(-0.14, 0.27, 0.05, turn("x", -35, turn("z", -25, egg(0.035, 0.19, 0.13))))), wing),
        Part(rod((-0.14, 0, -0.32), (-0.36, 0.05, -0.38), 0.1, 0.06), green, 0.06),
        Part(rod((-0.36, 0.05, -0.38), (-0.46, 0.1, -0.26), 0.06, 0.02), spike, 0.04),
        Part(at(-0.1, 0, 0.38, ball(0.055)), spike),
        Part(at(-0.165, 0, 0.26, ball(0.055)), spike),
        Part(at(-0.19, 0, -0.02, ball(0.055)), spike),
        Part(at(-0.21, 0, -0.17, ball(0.055)), spike),
    ]


@toy("A sea turtle", front=True)
def turtle() -> list[Part]:
    shell = dots(26, 13, (0.52, 0.36, 0.16), (0.26, 0.18, 0.08))
    skin = (0.4, 0.68, 0.5)
    dome = both(egg(0.34, 0.28, 0.25), above(0.0))
    return [
        Part(at(-0.02, 0, -0.06, dome), shell),
        Part(at(-0.02, 0, -0.06, egg(0.36, 0.3, 0.06)), (0.72, 0.6, 0.3)),
        Part(at(-0.02, 0, -0.1, egg(0.31, 0.25, 0.08)), CREAM, 0.02),
        Part(rod((0.28, 0, -0.06), (0.38, 0, 0.03), 0.07), skin),
        Part(at(0.42, 0, 0.06, egg(0.12, 0.09, 0.09)), skin, 0.04),
        Part(twins(at(0.465, 0.068, 0.09, ball(0.024))), BLACK),
        Part(at(0.525, 0, 0.04, egg(0.02, 0.05, 0.02)), (0.85, 0.75, 0.35)),
        Part(twins(at(0.15, 0.34, -0.13, turn("z", -35, turn("x", -20, egg(0.1, 0.23, 0.035))))), skin),
        Part(twins(at(-0.3, 0.24, -0.14, turn("z", 40, egg(0.075, 0.14, 0.03)))), (0.34, 0.6, 0.44)),
        Part(rod((-0.34, 0, -0.1), (-0.46, 0, -0.13), 0.04, 0.01), skin),
    ]


@toy("A DSLR photograph of a hamburger")
def hamburger() -> list[Part]:
    bun = fade(2, -0.1, 0.35, (0.88, 0.58, 0.24), (0.74, 0.4, 0.12))
    top = both(at(0, 0, 0.06, egg(0.42, 0.42, 0.31)), above(0.08))
    return [
        Part(at(0, 0, 0.0, top), dots(70, 3.0, (0.99, 0.93, 0.75), bun)),
        Part(at(0, 0, 0.045, around(9, at(0.37, 0, 0, egg(0.1, 0.13, 0.035)))), (0.4, 0.78, 0.2)),
        Part(at(0, 0, 0.05, drum(0.4, 0.02)), (0.32, 0.68, 0.16)),
        Part(at(0, 0, -0.01, around(4, at(0.2, 0, 0, drum(0.2, 0.03, 0.01)), phase=45)), (0.86, 0.12, 0.1)),
        Part(at(0, 0, -0.06, turn("z", 45, box(0.32, 0.32, 0.02, 0.005))), (1.0, 0.78, 0.1)),
        Part(at(0, 0, -0.13, drum(0.41, 0.06, 0.04)), (0.3, 0.14, 0.07)),
        Part(at(0, 0, -0.22, drum(0.38, 0.025)), WHITE),
        Part(at(0, 0, -0.3, drum(0.4, 0.07, 0.06)), (0.86, 0.58, 0.26)),
    ]


@toy("A DSLR photo of a soccer ball")
def soccer_ball() -> list[Part]:
    golden = (1 + 5**0.5) / 2
    corners = [
        (0, 1, golden),
        (0, 1, -golden),
        (1, golden, 0),
        (1, -golden, 0),
        (golden, 0, 1),
        (golden, 0, -1),
    ]
    length = (1 + golden**2) ** 0.5

    def patches(p):  # the twelve pentagons sit at the corners of an icosahedron
        axes = p.new_tensor(corners) / length
        return ((p / p.norm(dim=-1, keepdim=True)) @ axes.T).abs().amax(-1) > 0.93

    def seams(p):
        axes = p.new_tensor(corners) / length
        nearest = ((p / p.norm(dim=-1, keepdim=True)) @ axes.T).abs().topk(2, dim=-1).values
        return (nearest[:, 0] - nearest[:, 1]) < 0.035

    return [Part(ball(0.45), where(patches, BLACK, where(seams, (0.5, 0.5, 0.52), WHITE)))]


@toy("A DSLR photo of a white fluffy cat", front=True)
def cat() -> list[Part]:
    fur, shadow, pink, blue = (0.97, 0.95, 0.92), (0.85, 0.82, 0.8), (0.95, 0.62, 0.64), (0.25, 0.55, 0.85)
    return [
        Part(at(-0.04, 0, -0.2, egg(0.23, 0.22, 0.26)), fur),
        Part(at(0.08, 0, -0.06, egg(0.15, 0.17, 0.17)), fur, 0.06),
        Part(at(0.1, 0, 0.2, egg(0.19, 0.22, 0.18)), fur, 0.05),
        Part(twins(at(0.17, 0.11, 0.13, ball(0.09))), fur, 0.05),
        Part(twins(rod((0.08, 0.13, 0.3), (0.05, 0.17, 0.45), 0.07, 0.015)), shadow, 0.03),
        Part(twins(rod((0.125, 0.135, 0.33), (0.085, 0.165, 0.42), 0.04, 0.01)), pink),
        Part(twins(at(0.265, 0.082, 0.23, ball(0.042))), blue),
        Part(twins(at(0.3, 0.084, 0.235, ball(0.018))), BLACK),
        Part(at(0.3, 0, 0.16, egg(0.02, 0.03, 0.02)), pink),
        Part(twins(at(0.255, 0.035, 0.12, ball(0.05))), fur, 0.03),
        Part(twins(rod((0.16, 0.08, -0.1), (0.2, 0.08, -0.42), 0.065, 0.055)), fur, 0.04),
        Part(twins(at(0.24, 0.08, -0.43, egg(0.075, 0.06, 0.05))), shadow, 0.02),
        Part(twins(at(0.08, 0.22, -0.4, egg(0.14, 0.07, 0.07))), shadow, 0.03),
        Part(rod((-0.24, 0, -0.36), (-0.4, 0.12, -0.2), 0.075), fur, 0.05),
        Part(rod((-0.4, 0.12, -0.2), (-0.36, 0.16, 0.06), 0.075, 0.06), shadow, 0.04),
    ]


@toy("An astronaut", front=True)
def astronaut() -> list[Part]:
    suit, grey, orange, visor = (0.93, 0.94, 0.96), (0.55, 0.57, 0.62), (0.95, 0.45, 0.1), (0.1, 0.16, 0.36)
    return [
        Part(at(0, 0, -0.05, egg(0.15, 0.19, 0.2)), suit),
        Part(at(0, 0, 0.29, ball(0.2)), suit),
        Part(
            at(0.08, 0, 0.29, egg(0.15, 0.16, 0.13)),
            where(lambda p: p[:, 2] > 0.345, (0.4, 0.6, 0.85), visor),
        ),
        Part(at(0.0, 0, 0.12, ring(0.13, 0.035)), orange),
        Part(twins(rod((0, 0.17, 0.04), (0.04, 0.31, -0.12), 0.075, 0.065)), suit, 0.03),
        Part(twins(at(0.05, 0.33, -0.16, ball(0.065))), orange),
        Part(twins(rod((0, 0.095, -0.18), (0.0, 0.11, -0.4), 0.09, 0.08)), suit, 0.03),
        Part(twins(at(0.03, 0.11, -0.46, egg(0.11, 0.075, 0.055))), grey),
        Part(at(-0.2, 0, 0.0, box(0.08, 0.16, 0.19, 0.04)), grey),
        Part(twins(at(-0.2, 0.1, -0.14, rod((0, 0, 0), (0, 0, 0.26), 0.05))), (0.35, 0.37, 0.42)),
        Part(at(0.15, 0, 0.0, box(0.03, 0.08, 0.06, 0.015)), grey),
        Part(at(0.185, 0.035, 0.02, ball(0.018)), RED),
        Part(at(0.185, -0.035, 0.02, ball(0.018)), (0.2, 0.8, 0.3)),
        Part(twins(at(0.0, 0.2, 0.29, ball(0.05))), orange),
    ]
