"""Animals, plush, stone and alive."""

from __future__ import annotations

import math

from torch import Tensor

from world.objects.anatomy import fluffy, limb, marble, row, under_zigzag
from world.objects.toy import BLACK, BROWN, CREAM, GOLD, INK, PINK, RED, WHITE, YELLOW, Variant, toy
from world.sdf import (
    Part,
    above,
    around,
    at,
    azimuth,
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
    stripes,
    turn,
    twins,
    where,
    within,
)


@toy("A marble bust of a mouse", front=True)
def mouse(v: Variant) -> list[Part]:
    pale, grey = (0.88, 0.88, 0.87), (0.6, 0.61, 0.65)
    stone = marble(pale, v.pick(grey, (0.68, 0.6, 0.5), (0.45, 0.5, 0.55)))
    plinth = v.pick((0.26, 0.26, 0.3), (0.35, 0.2, 0.16), (0.16, 0.3, 0.26))
    ear = v.size(0.14)
    hollow = twins(at(0.06, 0.225, 0.3, egg(0.05, 0.095, 0.095)))
    return [
        Part(both(at(0, 0, -0.17, egg(0.18, 0.27, 0.22)), above(-0.27)), stone),
        Part(rod((0, 0, -0.1), (0.03, 0, 0.1), 0.12), stone, 0.05),
        Part(at(0.03, 0, 0.12, egg(0.19, 0.2, 0.18)), stone, 0.04),
        Part(rod((0.12, 0, 0.1), (0.32, 0, 0.05), 0.12, 0.05), stone, 0.05),
        Part(at(0.37, 0, 0.065, ball(0.042)), grey),
        Part(at(0.3, 0, -0.035, box(0.02, 0.035, 0.035, 0.01)), WHITE),
        Part(twins(at(0.175, 0.105, 0.19, ball(0.036))), (0.4, 0.41, 0.45)),
        Part(twins(at(0.0, 0.225, 0.3, egg(0.05, ear, ear))), within(hollow, grey, stone), 0.02),
        Part(rod((0, 0, -0.27), (0, 0, -0.38), 0.09, 0.13), pale),
        Part(at(0, 0, -0.39, box(0.18, 0.18, 0.05)), plinth),
        Part(at(0, 0, -0.44, box(0.22, 0.22, 0.03)), plinth),
    ]


@toy("A rabbit, animated movie character, high detail 3d mode", front=True)
def rabbit(v: Variant) -> list[Part]:
    fur, muzzle, rose = v.pick((0.6, 0.6, 0.66), (0.72, 0.5, 0.32), (0.86, 0.82, 0.78)), (0.94, 0.9, 0.86), PINK
    cloth = v.pick((0.12, 0.3, 0.75), (0.75, 0.12, 0.14), (0.14, 0.5, 0.3))
    shirt, ear = v.pick(YELLOW, (0.95, 0.5, 0.2), (0.6, 0.85, 0.9)), v.size(0.14)
    bib = join(at(0.16, 0, -0.18, box(0.1, 0.09, 0.12)), at(0, 0, -0.42, box(0.3, 0.3, 0.18)))
    lining = twins(at(0.06, 0.11, 0.37, egg(0.05, 0.035, 0.1)))
    return [
        Part(at(0, 0, -0.2, egg(0.15, 0.17, 0.19)), within(bib, cloth, shirt)),
        Part(at(0.02, 0, 0.1, egg(0.17, 0.19, 0.16)), fur),
        Part(twins(at(0.1, 0.08, 0.03, ball(0.1))), muzzle, 0.04),
        Part(twins(at(0.0, 0.11, 0.37, turn("x", -8, egg(0.045, 0.068, ear)))), within(lining, rose, fur), 0.03),
        Part(twins(at(0.155, 0.075, 0.15, egg(0.03, 0.05, 0.065))), WHITE),
        Part(twins(at(0.178, 0.068, 0.145, egg(0.025, 0.03, 0.045))), v.pick((0.35, 0.15, 0.6), (0.1, 0.4, 0.2))),
        Part(at(0.2, 0, 0.075, egg(0.03, 0.035, 0.025)), (0.95, 0.4, 0.5)),
        Part(at(0.19, 0, -0.015, box(0.015, 0.03, 0.035, 0.01)), WHITE),
        Part(twins(at(0.13, 0.055, -0.075, egg(0.04, 0.06, 0.04))), RED),
        Part(rod((0, 0.14, -0.12), (0.1, 0.29, -0.2), 0.055), shirt, 0.02),
        Part(rod((0, -0.14, -0.12), (0.03, -0.31, 0.02), 0.055), shirt, 0.02),
        Part(join(at(0.13, 0.31, -0.21, ball(0.06)), at(0.04, -0.34, 0.07, ball(0.06))), muzzle),
        Part(rod((0.14, 0.31, -0.3), (0.16, 0.3, -0.1), 0.02, 0.055), (0.98, 0.48, 0.08)),
        Part(rod((0.16, 0.3, -0.08), (0.16, 0.32, 0.02), 0.04, 0.02), (0.2, 0.65, 0.2)),
        Part(twins(rod((0, 0.09, -0.34), (0, 0.1, -0.42), 0.075)), cloth, 0.02),
        Part(twins(at(0.07, 0.11, -0.465, egg(0.15, 0.075, 0.05))), fur),
        Part(at(-0.17, 0, -0.3, ball(0.075)), WHITE),
    ]


@toy("A baby bunny sitting on top of a stack of pancakes", front=True)
def bunny(v: Variant) -> list[Part]:
    fur = v.pick((0.95, 0.93, 0.9), (0.6, 0.42, 0.3), (0.62, 0.63, 0.68))
    cake = where(lambda p: ((p[:, 2] + 0.435) / 0.1 % 1 - 0.5).abs() > 0.2, (0.72, 0.4, 0.14), (0.97, 0.8, 0.48))
    syrup, ear = (0.42, 0.17, 0.05), v.size(0.13)
    lining = twins(at(0.16, 0.085, 0.38, egg(0.06, 0.03, 0.1)))
    return [
        Part(at(0, 0, -0.435, drum(0.31, 0.025, 0.02)), v.pick((0.3, 0.55, 0.85), (0.85, 0.3, 0.35), (0.4, 0.7, 0.5))),
        Part(at(0, 0, -0.37, row(4, (0, 0, 0.1), drum(0.36, 0.053, 0.045))), cake),
        Part(at(0, 0, -0.02, drum(0.31, 0.025, 0.02)), syrup),
        Part(around(6, rod((0.3, 0, -0.03), (0.36, 0, -0.14), 0.045), phase=20), syrup, 0.03),
        Part(at(-0.07, 0, 0.12, egg(0.2, 0.17, 0.16)), fur),
        Part(twins(at(-0.1, 0.13, 0.08, egg(0.12, 0.07, 0.1))), fur, 0.02),
        Part(at(0.1, 0, 0.22, egg(0.14, 0.145, 0.13)), fur, 0.03),
        Part(twins(at(0.07, 0.085, 0.39, turn("y", -8, egg(0.045, 0.06, ear)))), within(lining, PINK, fur), 0.02),
        Part(twins(at(0.2, 0.085, 0.25, ball(0.036))), BLACK),
        Part(twins(at(0.21, 0.045, 0.17, ball(0.05))), fur, 0.02),
        Part(at(0.25, 0, 0.2, egg(0.02, 0.03, 0.022)), (0.95, 0.4, 0.45)),
        Part(twins(at(0.16, 0.08, 0.02, egg(0.075, 0.045, 0.04))), fur),
        Part(at(-0.28, 0, 0.1, ball(0.075)), WHITE),
    ]


@toy("Baby dragon hatching out of a stone egg", front=True)
def hatchling(v: Variant) -> list[Part]:
    skin = v.pick((0.88, 0.2, 0.08), (0.15, 0.35, 0.85), (0.55, 0.2, 0.7))
    belly, wing, eye = (0.99, 0.8, 0.3), v.pick((0.98, 0.6, 0.1), (0.3, 0.8, 0.8)), v.size(0.05)

    def cracked(p: Tensor) -> Tensor:
        zigzag = ((p[:, 2] / 0.12 % 1) - 0.5).abs() * 0.12
        return (azimuth(p) * 3 / math.pi + zigzag * 4 - 0.1).sub(0.5).mul(math.pi).cos().abs() < 0.1

    grey, dark = v.pick((0.56, 0.57, 0.6), (0.5, 0.48, 0.44)), (0.22, 0.22, 0.25)
    stone = where(cracked, dark, dots(60, 5, (0.72, 0.72, 0.74), grey))
    shell = cut(egg(0.37, 0.37, 0.4), egg(0.33, 0.33, 0.36))
    return [
        Part(at(0, 0, -0.12, both(shell, under_zigzag(7, 0.02, 0.16))), stone),
        Part(at(0, 0, -0.12, egg(0.27, 0.28, 0.26)), skin),
        Part(at(0.06, 0, -0.02, egg(0.23, 0.19, 0.2)), belly),
        Part(at(0.04, 0, 0.23, egg(0.19, 0.19, 0.17)), skin, 0.04),
        Part(at(0.2, 0, 0.18, egg(0.11, 0.13, 0.085)), skin, 0.03),
        Part(twins(at(0.305, 0.05, 0.205, ball(0.018))), INK),
        Part(twins(at(0.17, 0.09, 0.29, ball(eye))), WHITE),
        Part(twins(at(0.205, 0.1, 0.295, ball(0.03))), BLACK),
        Part(twins(rod((-0.02, 0.14, 0.32), (-0.05, 0.25, 0.43), 0.045, 0.015)), CREAM),
        Part(
            at(0, 0, 0.34, turn("x", 12, both(egg(0.15, 0.15, 0.17), turn("x", 180, under_zigzag(6, -0.06, 0.02))))),
            grey,
        ),
        Part(twins(rod((0.2, 0.18, 0.0), (0.37, 0.17, 0.02), 0.06)), skin),
        Part(twins(at(0.39, 0.17, -0.04, ball(0.055))), belly),
        Part(twins(at(-0.16, 0.31, 0.18, turn("x", -40, turn("z", -20, egg(0.03, 0.17, 0.1))))), wing),
    ]


@toy("An iguana holding a balloon", front=True)
def iguana(v: Variant) -> list[Part]:
    green, lime, spike = v.pick((0.3, 0.62, 0.12), (0.12, 0.5, 0.42)), (0.72, 0.85, 0.3), (0.95, 0.6, 0.12)
    banded = stripes(1, 0.13, green, v.pick((0.14, 0.4, 0.1), (0.3, 0.3, 0.12)))
    rubber, r = v.pick((0.92, 0.06, 0.1), (0.15, 0.35, 0.95), (0.95, 0.8, 0.1)), v.size(0.155)
    tail = limb(0.12, 0.025, (-0.16, 0, -0.32), (-0.29, -0.16, -0.32), (-0.2, -0.36, -0.25), (-0.14, -0.43, 0.02))
    leg = limb(0.1, 0.05, (-0.08, 0.12, -0.32), (0.1, 0.19, -0.32), (0.05, 0.17, -0.42), (0.17, 0.17, -0.43))
    thorn = rod((0, 0, 0), (-0.09, 0, 0.06), 0.035, 0.012)
    shine = at(0.14, 0.26, 0.4, ball(0.05))
    return [
        Part(rod((0.03, -0.05, 0.0), (-0.1, 0, -0.3), 0.12, 0.16), fade(0, 0, 0.14, green, lime)),
        Part(rod((0.08, -0.1, 0.16), (0.27, -0.12, 0.13), 0.105, 0.07), green, 0.06),
        Part(at(0.2, -0.11, 0.02, egg(0.07, 0.035, 0.085)), spike),
        Part(at(0.16, -0.11, 0.2, turn("z", 0, twins(at(0, 0.085, 0, ball(0.042))))), YELLOW),
        Part(at(0.185, -0.11, 0.205, twins(at(0, 0.105, 0, ball(0.024)))), BLACK),
        Part(tail, banded, 0.05),
        Part(at(0.03, -0.1, 0.25, row(6, (-0.052, 0.018, -0.085), thorn)), spike),
        Part(limb(0.05, 0.045, (0.06, 0.04, -0.02), (0.16, 0.18, -0.12), (0.22, 0.2, 0.0)), green, 0.03),
        Part(limb(0.05, 0.045, (0.06, -0.14, -0.04), (0.16, -0.2, -0.16), (0.25, -0.16, -0.18)), green, 0.03),
        Part(twins(leg), green),
        Part(rod((0.22, 0.2, -0.06), (0.08, 0.2, 0.2), 0.015), WHITE),
        Part(at(0.05, 0.2, 0.325, egg(r, r, 0.17)), within(shine, (0.99, 0.75, 0.75), rubber)),
        Part(at(0.07, 0.2, 0.16, turn("x", 180, drum(0.02, 0.025, 0.005, top=0.04))), rubber),
    ]


@toy("A ceramic lion", front=True)
def lion(v: Variant) -> list[Part]:
    glaze = v.pick((0.08, 0.18, 0.66), (0.75, 0.36, 0.06), (0.1, 0.45, 0.35))
    white, gold, blue = (0.93, 0.94, 0.95), (0.93, 0.72, 0.2), v.pick((0.16, 0.32, 0.8), (0.5, 0.2, 0.1))
    painted = dots(46, v.pick(6.0, 4.5, 0.5), blue, white)
    petal = v.size(0.1)
    sheen = twins(at(0.12, 0.12, 0.43, turn("x", -50, egg(0.09, 0.03, 0.06))))
    glossy = within(sheen, (0.8, 0.87, 0.97), glaze)
    return [
        Part(at(0, 0, -0.445, drum(0.28, 0.035, 0.015)), glaze),
        Part(at(0, 0, -0.415, drum(0.26, 0.02)), gold),
        Part(at(-0.06, 0, -0.19, egg(0.18, 0.18, 0.25)), painted),
        Part(at(0.0, 0, 0.17, egg(0.13, 0.25, 0.25)), glossy),
        Part(at(0.02, 0, 0.17, turn("y", 90, around(11, at(0.23, 0, 0, egg(petal, 0.075, 0.08))))), glossy),
        Part(at(0.1, 0, 0.17, egg(0.15, 0.17, 0.16)), white, 0.02),
        Part(twins(at(0.08, 0.19, 0.32, ball(0.055))), white),
        Part(twins(at(0.235, 0.05, 0.11, ball(0.065))), white, 0.02),
        Part(at(0.285, 0, 0.15, egg(0.03, 0.05, 0.035)), glaze),
        Part(twins(at(0.225, 0.075, 0.225, ball(0.033))), INK),
        Part(twins(rod((0.12, 0.09, -0.08), (0.17, 0.1, -0.36), 0.07, 0.06)), white, 0.02),
        Part(twins(at(0.21, 0.1, -0.365, egg(0.08, 0.065, 0.045))), gold),
        Part(twins(at(0.0, 0.18, -0.34, egg(0.13, 0.07, 0.09))), painted),
        Part(limb(0.045, 0.035, (-0.2, 0, -0.34), (-0.32, 0.02, -0.3), (-0.36, 0.04, -0.08)), white),
        Part(at(-0.36, 0.04, 0.0, egg(0.07, 0.07, 0.1)), glaze),
    ]


@toy("A pomeranian dog", front=True)
def pomeranian(v: Variant) -> list[Part]:
    orange, cream = v.pick((0.93, 0.52, 0.14), (0.6, 0.32, 0.14), (0.9, 0.8, 0.62)), (0.98, 0.84, 0.6)
    ruff, side = v.size(0.28), v.pick(0.0, 0.08)
    chest = at(0.27, 0, -0.14, egg(0.17, 0.16, 0.2))
    fur = within(chest, cream, orange)
    return [
        Part(fluffy(at(-0.1, 0, -0.14, egg(0.31, 0.3, 0.27))), fur),
        Part(fluffy(at(0.07, 0, 0.0, ball(ruff))), fur, 0.05),
        Part(fluffy(at(0.13, 0, 0.16, egg(0.21, 0.27, 0.23))), fur, 0.04),
        Part(at(0.29, 0, 0.1, egg(0.12, 0.11, 0.085)), cream, 0.03),
        Part(twins(at(0.27, 0.13, 0.1, ball(0.08))), cream, 0.03),
        Part(at(0.405, 0, 0.135, egg(0.035, 0.048, 0.035)), BLACK),
        Part(twins(at(0.315, 0.1, 0.215, ball(0.042))), BLACK),
        Part(at(0.37, 0, 0.02, egg(0.045, 0.04, 0.05)), (0.95, 0.35, 0.42)),
        Part(twins(rod((0.06, 0.15, 0.33), (0.04, 0.19, 0.44), 0.065, 0.025)), BROWN, 0.02),
        Part(twins(rod((0.13, 0.11, -0.3), (0.16, 0.12, -0.43), 0.075, 0.065)), cream),
        Part(twins(rod((-0.2, 0.12, -0.3), (-0.18, 0.13, -0.43), 0.085, 0.065)), orange),
        Part(fluffy(limb(0.1, 0.13, (-0.37, side, 0.04), (-0.33, side, 0.18), (-0.21, side, 0.26))), cream),
    ]


@toy("Robotic bee, high detail", front=True)
def bee(v: Variant) -> list[Part]:
    yellow, black, steel = v.pick(YELLOW, (0.95, 0.55, 0.08)), (0.1, 0.1, 0.12), (0.62, 0.66, 0.72)
    glow = v.pick((0.1, 0.9, 0.95), (0.98, 0.15, 0.2), (0.3, 0.95, 0.3))
    glass, vein, wing = (0.75, 0.9, 0.97), (0.35, 0.5, 0.65), v.size(0.2)
    pane = where(lambda p: ((p[:, 0] + 0.5 * p[:, 1].abs()) / 0.13 % 1) < 0.2, vein, glass)
    banded = stripes(0, 0.15, yellow, black, phase=0.03)
    return [
        Part(at(-0.19, 0, -0.05, turn("y", -12, egg(0.25, 0.18, 0.18))), banded),
        Part(rod((-0.4, 0, -0.1), (-0.51, 0, -0.13), 0.045, 0.012), steel),
        Part(at(0.08, 0, 0.02, ball(0.155)), fade(2, -0.1, 0.15, (0.35, 0.38, 0.44), (0.85, 0.88, 0.92))),
        Part(at(-0.0, 0, 0.0, turn("y", 80, ring(0.14, 0.03))), black),
        Part(at(0.08, 0, 0.155, drum(0.06, 0.04)), glow),
        Part(at(0.28, 0, 0.03, egg(0.12, 0.15, 0.13)), yellow),
        Part(twins(at(0.33, 0.105, 0.06, egg(0.075, 0.065, 0.09))), black),
        Part(twins(at(0.375, 0.125, 0.07, egg(0.045, 0.045, 0.055))), glow),
        Part(at(0.385, 0, -0.04, box(0.03, 0.06, 0.03)), steel),
        Part(twins(limb(0.02, 0.02, (0.32, 0.05, 0.13), (0.33, 0.09, 0.26), (0.39, 0.12, 0.3))), steel),
        Part(twins(at(0.39, 0.12, 0.3, ball(0.042))), (0.95, 0.12, 0.12)),
        Part(twins(at(0.03, 0.29, 0.2, turn("x", 22, turn("z", 15, egg(0.12, wing, 0.025))))), pane),
        Part(twins(at(-0.16, 0.25, 0.16, turn("x", 22, turn("z", 40, egg(0.09, 0.17, 0.025))))), pane),
        *(
            Part(twins(limb(0.03, 0.022, (x, 0.1, -0.07), (x + lean, 0.2, -0.14), (x + 1.6 * lean, 0.2, -0.32))), steel)
            for x, lean in ((0.15, 0.06), (0.06, -0.02), (-0.04, -0.08))
        ),
    ]


@toy("A tarantula, highly detailed", front=True)
def tarantula(v: Variant) -> list[Part]:
    hair, knee = (
        v.pick((0.16, 0.1, 0.08), (0.3, 0.18, 0.1), (0.12, 0.12, 0.2)),
        v.pick((0.95, 0.45, 0.06), (0.9, 0.12, 0.1)),
    )
    tan, abdomen = (0.5, 0.32, 0.2), v.size(0.2)
    patches = join(at(0.27, 0, 0.1, ball(0.085)), at(0.4, 0, -0.03, ball(0.05)))
    leg = limb(0.055, 0.032, (0.08, 0, -0.04), (0.27, 0, 0.1), (0.4, 0, -0.03), (0.475, 0, -0.18))
    chevron = where(lambda p: ((p[:, 0] - 0.8 * p[:, 1].abs()) / 0.17 % 1) < 0.35, knee, hair)
    return [
        Part(around(8, leg, phase=22.5), within(around(8, patches, phase=22.5), knee, hair)),
        Part(around(8, at(0.47, 0, -0.19, ball(0.045)), phase=22.5), tan),
        Part(at(0.07, 0, 0.03, egg(0.19, 0.16, 0.11)), tan),
        Part(fluffy(at(-0.22, 0, 0.1, egg(abdomen, 0.2, 0.19))), chevron, 0.02),
        Part(twins(rod((0.21, 0.06, 0.0), (0.32, 0.06, -0.03), 0.06)), hair, 0.02),
        Part(twins(rod((0.35, 0.06, -0.04), (0.34, 0.05, -0.16), 0.035, 0.014)), (0.75, 0.1, 0.08)),
        Part(twins(rod((0.2, 0.13, -0.02), (0.38, 0.1, -0.02), 0.035)), knee),
        Part(twins(at(0.19, 0.05, 0.12, ball(0.045))), WHITE),
        Part(twins(at(0.222, 0.054, 0.13, ball(0.027))), BLACK),
        Part(twins(at(0.14, 0.11, 0.11, ball(0.03))), WHITE),
    ]


@toy("DSLR photograph of a baby racoon holding a hamburger, 80mm", front=True)
def racoon(v: Variant) -> list[Part]:
    grey, mask, pale = v.pick((0.5, 0.5, 0.53), (0.5, 0.4, 0.32)), (0.1, 0.1, 0.12), (0.93, 0.92, 0.9)
    bun, tuft = (0.87, 0.55, 0.2), v.size(0.07)
    band = twins(at(0.2, 0.12, 0.2, turn("x", -25, egg(0.15, 0.12, 0.065))))
    brow = twins(at(0.16, 0.11, 0.285, turn("x", -20, egg(0.15, 0.11, 0.045))))
    rings = where(lambda p: ((p[:, 1] + p[:, 2]) / 0.16) % 1 < 0.5, mask, grey)
    return [
        Part(at(-0.06, 0, -0.22, egg(0.2, 0.22, 0.25)), grey),
        Part(at(0.03, 0, 0.19, egg(0.2, 0.25, 0.19)), within(band, mask, within(brow, pale, grey)), 0.04),
        Part(at(0.21, 0, 0.13, egg(0.11, 0.09, 0.075)), pale, 0.02),
        Part(twins(at(0.1, 0.2, 0.1, ball(tuft))), pale, 0.03),
        Part(at(0.32, 0, 0.16, ball(0.038)), BLACK),
        Part(twins(at(0.2, 0.1, 0.215, ball(0.036))), BROWN),
        Part(twins(at(0.232, 0.095, 0.23, ball(0.014))), WHITE),
        Part(
            twins(at(-0.02, 0.19, 0.36, ball(0.085))), within(twins(at(0.08, 0.19, 0.36, ball(0.08))), pale, mask), 0.01
        ),
        Part(at(0.27, 0, -0.1, both(egg(0.17, 0.17, 0.13), above(0.0))), dots(60, 4.0, CREAM, bun)),
        Part(at(0.27, 0, -0.115, drum(0.18, 0.02)), (0.3, 0.72, 0.16)),
        Part(at(0.27, 0, -0.16, drum(0.165, 0.035, 0.02)), (0.32, 0.13, 0.06)),
        Part(at(0.27, 0, -0.22, drum(0.16, 0.04, 0.03)), bun),
        Part(twins(rod((0.0, 0.2, -0.08), (0.24, 0.2, -0.17), 0.07, 0.06)), fade(0, 0.12, 0.2, grey, mask), 0.02),
        Part(twins(rod((0.02, 0.15, -0.38), (0.15, 0.16, -0.42), 0.09, 0.07)), mask),
        Part(limb(0.08, 0.08, (-0.2, 0, -0.34), (-0.3, 0.16, -0.27), (-0.28, 0.26, -0.04), (-0.26, 0.28, 0.1)), rings),
    ]


@toy("A Viking panda with an axe", front=True)
def panda(v: Variant) -> list[Part]:
    steel, gold, leather = (0.6, 0.63, 0.68), GOLD, v.pick((0.5, 0.26, 0.1), (0.55, 0.1, 0.1), (0.2, 0.3, 0.5))
    horn, blade = v.size(0.13), v.pick((0.78, 0.82, 0.87), (0.9, 0.75, 0.4))
    spot = turn("y", 90, drum(0.16, 0.025))
    axe = cut(spot, at(0, 0, 0.2, ball(0.13)), at(0, 0, -0.2, ball(0.13)))
    return [
        Part(at(0, 0, -0.22, egg(0.2, 0.24, 0.24)), where(lambda p: p[:, 2] > -0.11, BLACK, WHITE)),
        Part(at(0, 0, -0.27, egg(0.21, 0.25, 0.06)), leather),
        Part(at(0.2, 0, -0.27, box(0.03, 0.055, 0.05)), gold),
        Part(at(0.03, 0, 0.12, egg(0.2, 0.24, 0.19)), WHITE),
        Part(twins(at(0.19, 0.1, 0.135, turn("x", 30, egg(0.05, 0.055, 0.075)))), BLACK),
        Part(twins(at(0.232, 0.09, 0.15, ball(0.022))), WHITE),
        Part(at(0.22, 0, 0.05, egg(0.05, 0.08, 0.055)), WHITE, 0.02),
        Part(at(0.265, 0, 0.075, egg(0.03, 0.045, 0.03)), BLACK),
        Part(twins(at(-0.04, 0.24, 0.19, ball(0.075))), BLACK),
        Part(at(0.01, 0, 0.2, both(egg(0.21, 0.235, 0.23), above(0.03))), steel),
        Part(at(0.01, 0, 0.225, turn("y", 0, ring(0.2, 0.035))), gold),
        Part(rod((0.2, 0, 0.24), (0.1, 0, 0.4), 0.03), gold),
        Part(twins(limb(0.065, 0.02, (0, 0.17, 0.3), (0, 0.28, 0.3), (0, 0.32, 0.29 + horn))), CREAM),
        Part(rod((0, 0.19, -0.08), (0.08, 0.36, -0.16), 0.085, 0.075), BLACK),
        Part(rod((0, -0.19, -0.08), (0.17, -0.28, -0.12), 0.085, 0.075), BLACK),
        Part(twins(rod((0.02, 0.13, -0.39), (0.14, 0.14, -0.42), 0.09, 0.075)), BLACK),
        Part(rod((0.22, -0.28, -0.36), (0.22, -0.29, 0.2), 0.028), BROWN),
        Part(at(0.22, -0.29, 0.1, axe), blade),
    ]


@toy("A plush dragon toy", front=True)
def dragon(v: Variant) -> list[Part]:
    green, belly = v.pick((0.2, 0.62, 0.3), (0.15, 0.6, 0.55), (0.45, 0.65, 0.15)), (0.98, 0.86, 0.5)
    wing, spike, span = (0.6, 0.2, 0.7), v.pick((0.97, 0.55, 0.12), (0.9, 0.2, 0.4)), v.size(0.17)
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
        Part(twins(rod((0.06, 0.15, -0.33), (0.21, 0.17, -0.37), 0.09, 0.08)), green, 0.04),
        Part(twins(at(0.275, 0.17, -0.37, ball(0.045))), belly),
        Part(twins(at(-0.14, 0.27, 0.05, turn("x", -35, turn("z", -25, egg(0.035, span, 0.13))))), wing),
        Part(rod((-0.14, 0, -0.3), (-0.33, 0.05, -0.35), 0.1, 0.06), green, 0.06),
        Part(rod((-0.33, 0.05, -0.35), (-0.43, 0.1, -0.23), 0.06, 0.02), spike, 0.04),
        Part(at(-0.1, 0, 0.38, ball(0.055)), spike),
        Part(at(-0.165, 0, 0.26, ball(0.055)), spike),
        Part(at(-0.19, 0, -0.02, ball(0.055)), spike),
        Part(at(-0.21, 0, -0.17, ball(0.055)), spike),
    ]


@toy("A sea turtle", front=True)
def turtle(v: Variant) -> list[Part]:
    shell = dots(v.pick(26, 18, 40), v.pick(13, 15, 9), (0.52, 0.36, 0.16), (0.26, 0.18, 0.08))
    skin, flipper = v.pick((0.4, 0.68, 0.5), (0.35, 0.6, 0.7), (0.6, 0.66, 0.35)), v.size(0.17)
    dome = both(egg(0.33, 0.28, 0.25), above(0.0))
    return [
        Part(at(-0.03, 0, -0.04, dome), shell),
        Part(at(-0.03, 0, -0.04, egg(0.35, 0.3, 0.06)), (0.72, 0.6, 0.3)),
        Part(at(-0.03, 0, -0.08, egg(0.3, 0.25, 0.08)), CREAM, 0.02),
        Part(rod((0.26, 0, -0.04), (0.36, 0, 0.05), 0.07), skin),
        Part(at(0.4, 0, 0.08, egg(0.12, 0.09, 0.09)), skin, 0.04),
        Part(twins(at(0.445, 0.068, 0.11, ball(0.024))), BLACK),
        Part(at(0.505, 0, 0.06, egg(0.02, 0.05, 0.02)), (0.85, 0.75, 0.35)),
        Part(twins(at(0.13, 0.31, -0.09, turn("z", -35, turn("x", -20, egg(0.1, flipper, 0.035))))), skin),
        Part(twins(at(-0.28, 0.22, -0.11, turn("z", 40, egg(0.075, 0.14, 0.03)))), (0.34, 0.6, 0.44)),
        Part(rod((-0.33, 0, -0.08), (-0.45, 0, -0.11), 0.04, 0.01), skin),
    ]


@toy("A DSLR photo of a white fluffy cat", front=True)
def cat(v: Variant) -> list[Part]:
    fur, shadow, pink = (0.95, 0.94, 0.91), v.pick((0.85, 0.82, 0.8), (0.8, 0.74, 0.66), (0.7, 0.72, 0.76)), PINK
    eye, ear, tip = v.pick((0.25, 0.55, 0.85), (0.35, 0.7, 0.25), (0.9, 0.65, 0.1)), v.size(0.12), v.pick(0.06, -0.1)
    return [
        Part(at(-0.04, 0, -0.2, egg(0.23, 0.22, 0.26)), fur),
        Part(at(0.08, 0, -0.06, egg(0.15, 0.17, 0.17)), fur, 0.06),
        Part(at(0.1, 0, 0.2, egg(0.19, 0.22, 0.18)), fur, 0.05),
        Part(twins(at(0.17, 0.11, 0.13, ball(0.09))), fur, 0.05),
        Part(twins(rod((0.08, 0.13, 0.3), (0.05, 0.17, 0.33 + ear), 0.07, 0.015)), shadow, 0.03),
        Part(twins(rod((0.125, 0.135, 0.33), (0.085, 0.165, 0.3 + ear), 0.04, 0.01)), pink),
        Part(twins(at(0.265, 0.082, 0.23, ball(0.042))), eye),
        Part(twins(at(0.3, 0.084, 0.235, ball(0.018))), BLACK),
        Part(at(0.3, 0, 0.16, egg(0.02, 0.03, 0.02)), pink),
        Part(twins(at(0.255, 0.035, 0.12, ball(0.05))), fur, 0.03),
        Part(twins(rod((0.16, 0.08, -0.1), (0.2, 0.08, -0.42), 0.065, 0.055)), fur, 0.04),
        Part(twins(at(0.23, 0.08, -0.43, egg(0.075, 0.06, 0.05))), shadow, 0.02),
        Part(twins(at(0.08, 0.22, -0.4, egg(0.14, 0.07, 0.07))), shadow, 0.03),
        Part(rod((-0.24, 0, -0.36), (-0.4, 0.12, -0.2), 0.075), fur, 0.05),
        Part(rod((-0.4, 0.12, -0.2), (-0.36, 0.16, tip), 0.075, 0.06), shadow, 0.04),
    ]
