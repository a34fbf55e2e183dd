"""Plants, buildings and things."""

from __future__ import annotations

import math

from torch import Tensor

from world.objects.toy import BLACK, GOLD, GREEN, RED, WHITE, YELLOW, Variant, toy
from world.sdf import (
    Part,
    Solid,
    above,
    around,
    at,
    ball,
    both,
    box,
    coil,
    cut,
    dots,
    drum,
    egg,
    fade,
    join,
    length,
    ring,
    rod,
    segments,
    stripes,
    turn,
    twins,
    where,
)


def four(solid: Solid) -> Solid:
    """The solid at x, y > 0, and its mirror images in the other three quarters."""
    return twins(turn("z", -90, twins(turn("z", 90, solid))))


@toy("A small saguaro cactus planted in a clay pot")
def cactus(v: Variant) -> list[Part]:
    skin = segments(12, (0.1, 0.42, 0.16), (0.2, 0.58, 0.24))
    arm, clay = (0.14, 0.5, 0.2), (0.74, 0.34, 0.18)
    flower = v.pick((0.95, 0.35, 0.6), (0.98, 0.8, 0.1), (0.9, 0.15, 0.15))
    left, right = v.pick((0.0, 0.1), (0.14, -0.02), (-0.02, 0.0))
    reach = v.size(0.25)
    return [
        Part(at(0, 0, -0.36, drum(0.17, 0.13, 0.02, top=0.23)), clay),
        Part(at(0, 0, -0.22, drum(0.26, 0.045, 0.02)), (0.82, 0.42, 0.24)),
        Part(at(0, 0, -0.185, drum(0.22, 0.02)), (0.3, 0.18, 0.1)),
        Part(rod((0, 0, -0.22), (0, 0, 0.32), 0.13, 0.12), skin),
        Part(rod((0, 0.1, left - 0.02), (0, reach, left), 0.06), arm, 0.05),
        Part(rod((0, reach, left), (0, reach + 0.02, left + 0.22), 0.065, 0.06), arm, 0.05),
        Part(rod((0, -0.1, right - 0.02), (0, -reach, right), 0.055), arm, 0.05),
        Part(rod((0, -reach, right), (0, -reach - 0.02, right + 0.2), 0.06, 0.055), arm, 0.05),
        Part(at(0, 0, 0.46, around(6, at(0.06, 0, 0, egg(0.06, 0.035, 0.03)))), flower),
        Part(at(0, 0, 0.48, ball(0.04)), YELLOW),
    ]


@toy("A 3D model of an adorable cottage with a thatched roof", front=True)
def cottage(v: Variant) -> list[Part]:
    wall, beam, glass = v.pick((0.95, 0.9, 0.78), (0.7, 0.82, 0.9)), (0.36, 0.22, 0.12), (0.45, 0.68, 0.85)
    straw, door = v.pick((0.76, 0.58, 0.24), (0.62, 0.5, 0.34)), v.pick((0.6, 0.16, 0.1), (0.1, 0.35, 0.6), GREEN)
    thatch = stripes(2, 0.07, straw, (0.58, 0.4, 0.16))
    slope = at(0, 0, -0.2, box(0.31, v.size(0.4), 0.46, 0.05))
    roof = both(turn("x", 42, slope), turn("x", -42, slope))
    window, frame = box(0.02, 0.05, 0.06, 0.005), box(0.02, 0.07, 0.08, 0.005)
    return [
        Part(at(0, 0, -0.37, drum(0.39, 0.03, 0.02)), (0.36, 0.6, 0.24)),
        Part(at(0, 0, -0.16, box(0.23, 0.28, 0.2, 0.01)), wall),
        Part(both(at(0, 0, 0.1, roof), above(-0.04)), thatch),
        Part(at(0.235, 0, -0.23, box(0.02, 0.07, 0.13, 0.01)), door),
        Part(at(0.26, 0.04, -0.23, ball(0.02)), GOLD),
        Part(twins(at(0.235, 0.18, -0.17, window)), glass),
        Part(twins(at(0.225, 0.18, -0.17, frame)), beam),
        Part(twins(at(0, 0.28, -0.17, turn("z", 90, frame))), beam),
        Part(at(-0.23, 0, -0.17, frame), glass),
        Part(at(-0.12, 0.14, 0.27, box(0.055, 0.055, 0.17, 0.01)), (0.6, 0.3, 0.24)),
        Part(at(0.31, 0, -0.345, box(0.08, 0.06, 0.02, 0.01)), (0.6, 0.58, 0.55)),
        Part(twins(at(0.28, 0.19, -0.31, ball(0.06))), fade(2, -0.34, -0.28, GREEN, (0.95, 0.4, 0.6))),
    ]


@toy("A blue tulip")
def tulip(v: Variant) -> list[Part]:
    petal = both(at(-0.06, 0, 0.0, egg(v.size(0.24), 0.15, 0.24)), above(-0.24))
    dark, pale = (0.08, 0.14, 0.66), v.pick((0.25, 0.42, 0.96), (0.6, 0.75, 0.98), (0.15, 0.25, 0.8))
    cup = at(0, 0, 0.31, cut(around(3, at(0.02, 0, 0, petal)), at(0, 0, 0.16, egg(0.15, 0.15, 0.24))))
    inner = at(0, 0, 0.3, cut(around(3, petal, phase=60), at(0, 0, 0.14, egg(0.13, 0.13, 0.24))))
    leaf = join(
        rod((0.02, 0, -0.45), (0.17, 0, -0.2), 0.035, 0.06),
        rod((0.17, 0, -0.2), (0.26, 0, v.size(0.05)), 0.06, 0.02),
        blend=0.03,
    )
    return [
        Part(cup, fade(2, 0.1, 0.5, dark, pale)),
        Part(inner, fade(2, 0.1, 0.5, dark, (0.16, 0.3, 0.86))),
        Part(rod((0, 0, -0.5), (0, 0, 0.12), 0.035), (0.28, 0.6, 0.2)),
        Part(around(v.pick(2, 3), leaf, phase=20), fade(2, -0.5, 0.05, (0.1, 0.4, 0.14), (0.24, 0.62, 0.22)), 0.02),
        Part(rod((0, 0, 0.2), (0, 0, 0.36), 0.03), YELLOW),
    ]


@toy("A cauldron full of gold coins")
def cauldron(v: Variant) -> list[Part]:
    iron = fade(2, -0.4, 0.2, *v.pick(((0.09, 0.09, 0.11), (0.2, 0.2, 0.24)), ((0.08, 0.13, 0.1), (0.2, 0.3, 0.24))))
    pot = cut(at(0, 0, -0.1, egg(0.4, 0.4, 0.33)), at(0, 0, 0.3, box(0.6, 0.6, 0.2)))
    coin, heap = drum(0.11, 0.02, 0.008), v.size(0.2)
    gold, dark, bright = (0.98, 0.78, 0.12), (0.86, 0.58, 0.04), (0.98, 0.85, 0.25)
    return [
        Part(pot, iron),
        Part(at(0, 0, 0.11, ring(0.345, 0.05)), (0.24, 0.24, 0.28)),
        Part(at(0, 0, 0.1, egg(0.32, 0.32, heap)), dots(40, 9, gold, dark)),
        Part(at(0.1, 0.05, 0.29, turn("y", 25, coin)), gold),
        Part(at(-0.09, 0.1, 0.29, turn("x", 30, coin)), bright),
        Part(at(-0.04, -0.12, 0.29, turn("x", -35, coin)), gold),
        Part(at(0.18, -0.12, 0.22, turn("y", 40, coin)), bright),
        Part(at(0.0, 0.0, 0.36, turn("y", v.pick(-20, 60, 0), coin)), gold),
        Part(around(3, rod((0.22, 0, -0.32), (0.26, 0, -0.4), 0.06, 0.05), phase=60), (0.1, 0.1, 0.12), 0.04),
        Part(twins(at(0, 0.41, 0.0, turn("y", 90, ring(0.09, 0.03)))), (0.3, 0.3, 0.34)),
    ]


@toy("A DSLR photo of a soccer ball")
def soccer_ball(v: Variant) -> list[Part]:
    golden = (1 + 5**0.5) / 2
    g, h = golden / 3**0.5, 1 / golden / 3**0.5
    hexagons = [(h, 0, g), (-h, 0, g), (g, h, 0), (g, -h, 0), (0, g, h), (0, g, -h)]
    hexagons += [(x / 3**0.5, y / 3**0.5, 1 / 3**0.5) for x in (1, -1) for y in (1, -1)]
    wide, ink = v.size(17.0), v.pick(BLACK, (0.08, 0.14, 0.55), (0.6, 0.06, 0.1))

    def seams(p: Tensor) -> Tensor:
        nearest = (p / length(p)[:, None] @ p.new_tensor(hexagons).T).abs().topk(2, dim=-1).values
        return (nearest[:, 0] - nearest[:, 1]) < 0.05

    def side(p: Tensor) -> Tensor:
        return p[:, 0] * math.cos(math.radians(wide)) - p[:, 2] * math.sin(math.radians(wide))

    # a raised pentagon at a corner (0, 1, golden) of an icosahedron; folding and turning the axes makes the twelve
    patch = turn("x", -math.degrees(math.atan(1 / golden)), both(ball(0.52), around(5, side, phase=90)))
    white = where(seams, (0.5, 0.5, 0.54), v.pick(WHITE, (0.95, 0.85, 0.3)))
    return [
        Part(ball(0.495), white),
        Part(lambda p: patch(p.abs()), ink),
        Part(lambda p: patch(p.abs().roll(1, -1)), ink),
        Part(lambda p: patch(p.abs().roll(2, -1)), ink),
    ]


@toy("A car made out of sushi", front=True)
def sushi_car(v: Variant) -> list[Part]:
    rice, nori, glass, roe = (0.95, 0.93, 0.86), (0.07, 0.14, 0.1), (0.5, 0.8, 0.95), (0.98, 0.4, 0.05)
    fish = v.pick((0.98, 0.5, 0.32), (0.85, 0.15, 0.22), (0.95, 0.75, 0.6))
    filling = v.pick((0.4, 0.75, 0.25), (0.98, 0.75, 0.2), (0.9, 0.25, 0.3))
    salmon = stripes(0, 0.14, fish, (0.97, 0.82, 0.72), phase=0.06)
    wheel = v.size(0.13)

    def wheels(r: float, half: float) -> Solid:
        return four(at(0.26, 0.22, -0.2, turn("x", 90, drum(r, half, 0.01))))

    return [
        Part(at(0, 0, -0.08, box(0.45, 0.21, 0.11, 0.06)), rice),
        Part(at(-0.02, 0, -0.08, box(0.08, 0.22, 0.12, 0.04)), nori),
        Part(at(-0.07, 0, 0.11, box(0.24, 0.18, 0.12, 0.05)), rice),
        Part(at(-0.07, 0, 0.11, box(0.25, 0.13, 0.075, 0.01)), glass),
        Part(at(-0.07, 0, 0.11, four(at(0.105, 0.1, 0, box(0.08, 0.09, 0.075, 0.01)))), glass),
        Part(at(-0.07, 0, 0.26, egg(0.34, 0.24, 0.1)), salmon),
        Part(at(0.32, 0, 0.05, box(0.13, 0.2, 0.045, 0.03)), (0.98, 0.8, 0.25)),
        Part(at(0.33, 0, 0.05, box(0.04, 0.21, 0.055, 0.02)), nori),
        Part(wheels(wheel, 0.05), nori),
        Part(wheels(wheel - 0.03, 0.06), rice),
        Part(wheels(0.055, 0.07), filling),
        Part(twins(at(0.44, 0.13, -0.06, ball(0.06))), roe),
        Part(twins(at(-0.44, 0.13, -0.06, egg(0.04, 0.05, 0.07))), (0.85, 0.1, 0.15)),
        Part(rod((0.45, -0.16, -0.16), (0.45, 0.16, -0.16), 0.04), (0.35, 0.65, 0.2)),
    ]


@toy("Tower Bridge made out of gingerbread and candy")
def tower_bridge(v: Variant) -> list[Part]:
    ginger = v.pick((0.66, 0.36, 0.14), (0.5, 0.26, 0.1), (0.78, 0.5, 0.24))
    icing, sweet = (0.95, 0.93, 0.9), v.pick(RED, (0.15, 0.6, 0.3), (0.9, 0.35, 0.65))
    cane = stripes(1, 0.09, sweet, icing)
    gums = stripes(1, 0.17, stripes(1, 0.34, GREEN, (0.55, 0.2, 0.75)), stripes(1, 0.34, YELLOW, (0.1, 0.6, 0.9)))
    apart, walk = 0.23, v.size(0.15)

    def towers(z: float, solid: Solid) -> Solid:
        return twins(at(0, apart, z, solid))

    return [
        Part(towers(-0.34, box(0.14, 0.12, 0.09, 0.03)), (0.4, 0.22, 0.1)),
        Part(towers(-0.02, box(0.105, 0.095, 0.29, 0.01)), ginger),
        Part(towers(0.26, box(0.125, 0.115, 0.03, 0.02)), icing),
        Part(towers(0.36, drum(0.11, 0.09, 0.01, top=0.02)), stripes(2, 0.07, sweet, icing)),
        Part(towers(0.445, ball(0.035)), YELLOW),
        Part(four(at(0.1, apart + 0.085, 0.0, rod((0, 0, -0.26), (0, 0, 0.3), 0.03))), stripes(2, 0.1, icing, sweet)),
        Part(towers(0.04, box(0.12, 0.04, 0.07, 0.02)), (0.98, 0.8, 0.2)),
        Part(at(0, 0, -0.17, box(0.115, 0.49, 0.035, 0.01)), ginger),
        Part(at(0, 0, -0.13, box(0.125, 0.49, 0.015, 0.01)), icing),
        Part(at(0, 0, walk, box(0.07, 0.2, 0.035, 0.01)), cane),
        Part(four(rod((0.08, apart + 0.08, 0.2), (0.08, 0.47, -0.1), 0.025)), cane),
        Part(four(join(*(at(0.11, y, -0.09, ball(0.04)) for y in (0.04, 0.38, 0.46)))), gums),
    ]


@toy("A shell", front=True)
def shell(v: Variant) -> list[Part]:
    base = v.pick((0.97, 0.78, 0.56), (0.95, 0.7, 0.7), (0.85, 0.85, 0.75))
    band = v.pick((0.78, 0.34, 0.16), (0.5, 0.3, 0.55), (0.3, 0.45, 0.5))
    lip, spire = (0.98, 0.55, 0.58), v.size(0.4)

    def leaning(solid: Solid) -> Solid:
        return turn("x", -28, at(0, 0, -0.02, solid))

    spike = rod((0.36, 0, -0.02), (0.47, 0, 0.05), 0.07, 0.02)
    return [
        Part(leaning(coil(4.0, (0.2, -0.12, 0.22), (0.01, spire + 0.07, 0.03), phase=-60)), base),
        Part(leaning(coil(4.0, (0.385, -0.06, 0.05), (0.03, spire + 0.08, 0.025), phase=-60)), band),
        Part(leaning(rod((0.03, 0, -0.2), (0.08, 0.03, -0.48), 0.22, 0.04)), base, 0.05),
        Part(leaning(at(0.29, 0.02, -0.15, turn("y", 25, egg(0.13, 0.17, 0.24)))), lip),
        Part(leaning(at(0.38, 0.02, -0.14, turn("y", 25, egg(0.06, 0.1, 0.17)))), (0.6, 0.2, 0.25)),
        Part(leaning(around(7, spike, phase=25)), (0.95, 0.88, 0.75)),
    ]


@toy("Photograph of a black leather backpack", front=True)
def backpack(v: Variant) -> list[Part]:
    leather, shine = fade(2, -0.45, 0.45, (0.1, 0.1, 0.12), (0.17, 0.17, 0.19)), (0.24, 0.24, 0.27)
    metal, trim = v.pick(GOLD, (0.8, 0.82, 0.86)), v.pick((0.55, 0.33, 0.16), (0.6, 0.1, 0.1), (0.3, 0.3, 0.34))
    wide = v.size(0.27)
    belt = [at(0.21, 0.14, 0.1, box(0.025, 0.035, 0.2, 0.01)), at(0.27, 0.14, -0.22, box(0.025, 0.035, 0.12, 0.01))]
    strap = join(
        rod((-0.13, 0.12, 0.36), (-0.27, 0.15, 0.2), 0.05),
        rod((-0.27, 0.15, 0.2), (-0.29, 0.17, -0.12), 0.05),
        rod((-0.29, 0.17, -0.12), (-0.16, 0.19, -0.38), 0.04),
    )
    return [
        Part(at(-0.01, 0, -0.02, box(0.18, wide, 0.42, 0.13)), leather),
        Part(at(0.17, 0, -0.24, box(0.1, 0.22, 0.16, 0.06)), shine),
        Part(at(0.04, 0, 0.25, box(0.17, wide + 0.02, 0.15, 0.09)), shine),
        Part(twins(belt[0]), trim),
        Part(twins(belt[1]), trim),
        Part(twins(at(0.235, 0.14, 0.02, box(0.03, 0.055, 0.045, 0.01))), metal),
        Part(twins(at(0.275, 0.14, -0.2, box(0.03, 0.055, 0.045, 0.01))), metal),
        Part(twins(at(0, wide + 0.02, -0.24, box(0.1, 0.06, 0.14, 0.05))), shine),
        Part(at(-0.05, 0, 0.4, turn("y", 90, ring(0.09, 0.03))), trim),
        Part(twins(strap), trim),
        Part(at(-0.17, 0, 0.05, box(0.03, 0.16, 0.25, 0.02)), (0.32, 0.32, 0.36)),
    ]
