"""Plants, buildings and things."""

from __future__ import annotations

from world.objects.toy import BLACK, GOLD, GREEN, WHITE, YELLOW, Variant, toy
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
)


@toy("A small saguaro cactus planted in a clay pot")
def cactus(v: Variant) -> list[Part]:
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
def cottage(v: Variant) -> list[Part]:
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


@toy("A blue tulip")
def tulip(v: Variant) -> list[Part]:
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
def cauldron(v: Variant) -> list[Part]:
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


@toy("A DSLR photo of a soccer ball")
def soccer_ball(v: Variant) -> list[Part]:
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
