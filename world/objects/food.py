"""Toys to eat."""

from __future__ import annotations

from torch import Tensor

from world.objects.toy import BROWN, CREAM, GREEN, RED, WHITE, YELLOW, Variant, toy
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
    ring,
    rod,
    segments,
    stripes,
    turn,
    twins,
)


@toy("A ripe strawberry")
def strawberry(v: Variant) -> list[Part]:
    flesh = fade(2, -0.45, 0.3, (0.8, 0.03, 0.06), (0.93, 0.12, 0.1))
    seeds = v.pick(48, 30, 70)
    tip = v.size(0.14)
    berry = join(at(0, 0, 0.12, egg(0.36, 0.36, 0.22)), rod((0, 0, 0.06), (0, 0, -0.36), 0.32, tip), blend=0.12)
    leaf = turn("y", v.pick(24, 10, 40), at(0.17, 0, 0.0, egg(0.2, 0.085, 0.035)))
    return [
        Part(berry, dots(seeds, 5.5, (0.98, 0.85, 0.35), flesh)),
        Part(at(0, 0, 0.42, around(6, leaf)), (0.2, 0.6, 0.15)),
        Part(at(0, 0, 0.405, around(6, leaf, phase=30)), (0.12, 0.46, 0.1)),
        Part(rod((0, 0, 0.38), (0.04, 0, 0.51), 0.03), (0.35, 0.6, 0.2), 0.03),
    ]


@toy("An ice cream sundae")
def sundae(v: Variant) -> list[Part]:
    glass, sauce = (0.72, 0.86, 0.93), v.pick((0.3, 0.13, 0.06), (0.7, 0.06, 0.1), (0.8, 0.45, 0.1))
    first, second = v.pick((0.97, 0.6, 0.68), (0.6, 0.85, 0.6)), v.pick((0.97, 0.9, 0.66), (0.75, 0.55, 0.85))
    scoop = v.size(0.17)
    return [
        Part(at(0, 0, -0.47, drum(0.19, 0.025, 0.015)), glass),
        Part(rod((0, 0, -0.46), (0, 0, -0.28), 0.045), (0.6, 0.76, 0.86), 0.04),
        Part(at(0, 0, -0.14, drum(0.1, 0.15, 0.02, top=0.3)), stripes(2, 0.1, glass, (0.98, 0.72, 0.78))),
        Part(at(0, 0, 0.015, ring(0.295, 0.025)), WHITE),
        Part(at(0.13, 0.08, 0.09, ball(scoop)), first),
        Part(at(-0.02, -0.15, 0.09, ball(scoop)), second),
        Part(at(-0.12, 0.09, 0.09, ball(scoop)), (0.45, 0.26, 0.14)),
        Part(at(0, 0, 0.25, egg(0.17, 0.17, 0.12)), (0.95, 0.93, 0.88)),
        Part(at(0, 0, 0.3, egg(0.13, 0.13, 0.09)), sauce, 0.03),
        Part(at(0, 0, 0.27, around(5, rod((0.1, 0, 0.04), (0.17, 0, -0.08), 0.03))), sauce, 0.03),
        Part(at(0, 0, 0.43, ball(0.07)), RED),
        Part(rod((0, 0, 0.47), (0.04, 0.03, 0.52), 0.018), GREEN),
        Part(rod((-0.08, -0.05, 0.2), (-0.24, -0.17, 0.42), 0.035), (0.87, 0.66, 0.36)),
    ]


@toy("A DSLR photograph of a hamburger")
def hamburger(v: Variant) -> list[Part]:
    bun = fade(2, -0.1, 0.35, (0.88, 0.58, 0.24), (0.74, 0.4, 0.12))
    seeds = v.pick(70, 110, 1)
    patty = v.size(0.065)
    top = both(at(0, 0, 0.08, egg(0.43, 0.43, 0.32)), above(0.1))
    return [
        Part(top, dots(seeds, 3.0, (0.95, 0.9, 0.75), bun)),
        Part(at(0, 0, 0.06, around(9, at(0.37, 0, 0, egg(0.1, 0.13, 0.04)))), (0.4, 0.78, 0.2)),
        Part(at(0, 0, 0.07, drum(0.4, 0.025)), (0.32, 0.68, 0.16)),
        Part(at(0, 0, 0.005, around(4, at(0.2, 0, 0, drum(0.21, 0.03, 0.01)), phase=45)), (0.86, 0.12, 0.1)),
        Part(at(0, 0, -0.05, turn("z", v.pick(45, 0, 20), box(0.34, 0.34, 0.02, 0.005))), (0.98, 0.78, 0.1)),
        Part(at(0, 0, -0.13, drum(0.43, patty, 0.04)), (0.3, 0.14, 0.07)),
        Part(at(0, 0, -0.22, drum(0.39, 0.025)), WHITE),
        Part(at(0, 0, -0.31, drum(0.41, 0.075, 0.06)), (0.86, 0.58, 0.26)),
    ]


@toy("A delicious croissant")
def croissant(v: Variant) -> list[Part]:
    crust = fade(2, -0.3, 0.3, (0.96, 0.72, 0.32), v.pick((0.84, 0.48, 0.12), (0.72, 0.36, 0.1), (0.92, 0.62, 0.22)))
    seam, reach = (0.5, 0.24, 0.07), 0.36
    fat = v.size(0.21)

    def lobe(angle: float, r: float, half: float) -> Solid:  # at an angle along the crescent, its tips low at +x
        placed = turn("z", -angle, at(-reach, 0, 0, egg(r * fat / 0.21, half, r)))
        return turn("y", 55, at(0.17, 0, 0, twins(placed)))

    return [
        Part(lobe(0, 0.21, 0.15), crust),
        Part(lobe(36, 0.19, 0.13), crust),
        Part(lobe(66, 0.155, 0.105), crust),
        Part(lobe(93, 0.12, 0.085), crust),
        Part(lobe(116, 0.075, 0.08), (0.66, 0.34, 0.1)),
        Part(lobe(20, 0.212, 0.026), seam),
        Part(lobe(53, 0.187, 0.025), seam),
        Part(lobe(81, 0.15, 0.024), seam),
    ]


@toy("A plate piled high with chocolate chip cookies")
def cookies(v: Variant) -> list[Part]:
    dough = v.pick((0.86, 0.62, 0.32), (0.7, 0.46, 0.22), (0.93, 0.75, 0.45))
    chip, rim = (0.22, 0.1, 0.05), v.pick((0.15, 0.4, 0.8), (0.8, 0.2, 0.25), (0.2, 0.6, 0.45))
    wide = v.size(0.18)
    cookie, bits = drum(wide, 0.038, 0.03), at(0, 0, 0.03, join(around(4, at(0.105, 0, 0, ball(0.036))), ball(0.036)))

    def heap(n: int, reach: float, z: float, lean: float, solid: Solid, phase: float = 0.0) -> Solid:
        return at(0, 0, z, around(n, at(reach, 0, 0, turn("y", lean, solid)), phase))

    rows = [(6, 0.28, -0.15, 58, 0), (4, 0.17, 0.03, 50, 25), (2, 0.08, 0.17, 40, 10)]
    parts = [
        Part(at(0, 0, -0.32, drum(0.28, 0.04, 0.02, top=0.42)), WHITE),
        Part(at(0, 0, -0.285, ring(0.42, 0.03)), rim),
        Part(at(0, 0, -0.1, egg(0.26, 0.26, 0.3)), (0.6, 0.38, 0.18)),
        Part(at(0, 0, 0.31, turn("x", 22, cookie)), dough),
        Part(at(0, 0, 0.31, turn("x", 22, bits)), chip),
    ]
    for n, reach, z, lean, phase in rows:
        parts.append(Part(heap(n, reach, z, lean, cookie, phase), dough))
        parts.append(Part(heap(n, reach, z, lean, bits, phase), chip))
    return parts


@toy("A stack of pancakes covered in maple syrup")
def pancakes(v: Variant) -> list[Part]:
    wide = v.size(0.36)
    top, edge, syrup = (0.8, 0.5, 0.18), (0.97, 0.82, 0.48), v.pick((0.36, 0.12, 0.03), (0.55, 0.2, 0.03))
    cake = stripes(2, 0.115, top, edge, phase=0.03)
    plate = v.pick((0.45, 0.75, 0.78), (0.9, 0.55, 0.6), (0.6, 0.6, 0.85))

    def drips(n: int, length: float, phase: float) -> Solid:
        return around(n, rod((wide, 0, 0.26), (wide + 0.04, 0, 0.26 - length), 0.05, 0.06), phase)

    return [
        Part(at(0, 0, -0.36, drum(0.3, 0.03, 0.02, top=0.41)), plate),
        *(
            Part(at(0.02 * (-1) ** k, 0.015 * (k % 3 - 1), -0.275 + 0.115 * k, drum(wide, 0.056, 0.05)), cake)
            for k in range(5)
        ),
        Part(at(0, 0, 0.245, drum(wide - 0.02, 0.035, 0.03)), syrup),
        Part(drips(3, 0.42, 20), syrup, 0.04),
        Part(drips(4, 0.2, 75), syrup, 0.04),
        Part(at(0.02, 0, 0.32, turn("z", 25, box(0.11, 0.11, 0.05, 0.02))), v.pick(YELLOW, (0.95, 0.15, 0.2))),
    ]


@toy("Bagel filled with cream cheese and lox")
def bagel(v: Variant) -> list[Part]:
    crust = v.pick((0.78, 0.46, 0.16), (0.55, 0.3, 0.12), (0.9, 0.66, 0.3))
    lox, seed = (0.98, 0.42, 0.28), v.pick(CREAM, (0.2, 0.16, 0.14))
    hole = v.size(0.3)
    half = both(ring(hole, 0.17), above(0.0))

    def tilted(solid: Solid) -> Solid:
        return turn("y", 50, solid)

    return [
        Part(tilted(at(0, 0, 0.09, half)), crust),
        Part(tilted(at(0, 0, -0.09, turn("x", 180, half))), (0.85, 0.56, 0.24)),
        Part(tilted(at(0, 0, -0.045, around(9, at(0.345, 0, 0, egg(0.18, 0.14, 0.06))))), WHITE),
        Part(tilted(at(0, 0, 0.035, around(7, at(0.36, 0, 0, egg(0.18, 0.16, 0.06))))), lox),
        Part(tilted(at(0, 0, 0.0, around(7, at(0.5, 0, 0, ball(0.035)), phase=26))), (0.3, 0.55, 0.15)),
        Part(tilted(at(0, 0, 0.255, around(9, at(hole, 0, 0, egg(0.04, 0.025, 0.02))))), seed),
        Part(tilted(at(0, 0, 0.215, around(11, at(hole + 0.11, 0, 0, egg(0.025, 0.04, 0.025))))), seed),
        Part(tilted(at(0, 0, 0.215, around(6, at(hole - 0.11, 0, 0, egg(0.025, 0.04, 0.025))))), seed),
    ]


@toy("A DSLR photo of a freshly baked round loaf of sourdough bread")
def sourdough(v: Variant) -> list[Part]:
    crust, flour, crumb = v.pick((0.55, 0.28, 0.1), (0.4, 0.2, 0.08)), (0.74, 0.52, 0.3), (0.95, 0.85, 0.62)
    high, slash = v.size(0.4), v.size(0.2)
    loaf = at(0, 0, -0.1, egg(0.46, 0.46, high))

    def risen(p: Tensor) -> Tensor:
        return loaf(p) - 0.025

    across = box(0.035, 0.34, 0.5)
    wood = stripes(1, 0.2, (0.5, 0.34, 0.2), (0.42, 0.27, 0.15))
    return [
        Part(at(0, 0, -0.29, drum(0.45, 0.03, 0.02)), wood),
        Part(both(loaf, above(-0.26)), stripes(2, 0.13, flour, crust, phase=0.05)),
        Part(both(risen, at(slash, 0, 0.5, across)), crumb),
        Part(both(risen, at(-slash, 0, 0.5, across)), crumb),
        Part(both(risen, turn("z", 90, at(slash, 0, 0.5, across))), crumb),
        Part(both(risen, turn("z", 90, at(-slash, 0, 0.5, across))), crumb),
        Part(both(risen, around(8, turn("x", 35, box(1.0, 0.03, 0.11)), phase=22)), crumb),
    ]


@toy("A DSLR photo of a decorated cupcake with sparkling sugar on top")
def cupcake(v: Variant) -> list[Part]:
    icing = v.pick((0.96, 0.5, 0.72), (0.55, 0.85, 0.75), (0.75, 0.6, 0.95))
    paper = segments(12, v.pick((0.1, 0.6, 0.75), (0.9, 0.65, 0.1), (0.5, 0.3, 0.75)), (0.92, 0.93, 0.9))
    swirl = coil(3.0, (v.size(0.25), -0.02, 0.13), (0.03, 0.34, 0.06))
    sparkle = ball(0.032)
    return [
        Part(at(0, 0, -0.32, drum(0.23, 0.19, 0.02, top=0.35)), paper),
        Part(at(0, 0, -0.13, drum(0.36, 0.05, 0.04)), BROWN),
        Part(join(swirl, rod((0, 0, -0.05), (0, 0, 0.3), 0.24, 0.06)), icing),
        Part(at(0, 0, 0.02, around(7, at(0.37, 0, 0, sparkle))), YELLOW),
        Part(at(0, 0, 0.1, around(6, at(0.32, 0, 0, sparkle), phase=20)), (0.2, 0.85, 0.95)),
        Part(at(0, 0, 0.18, around(5, at(0.26, 0, 0, sparkle), phase=50)), (0.95, 0.95, 0.95)),
        Part(at(0, 0, 0.27, around(4, at(0.18, 0, 0, sparkle))), YELLOW),
        Part(at(0, 0, 0.44, turn("y", 90, around(5, rod((0, 0, 0), (0.085, 0, 0), 0.05, 0.015), phase=180))), YELLOW),
    ]


@toy("A DSLR photo of a dew-covered peach sitting in soft morning light")
def peach(v: Variant) -> list[Part]:
    skin = fade(0, -0.4, 0.4, (0.98, 0.76, 0.4), v.pick((0.96, 0.42, 0.34), (0.98, 0.6, 0.3), (0.88, 0.2, 0.3)))
    dew = (0.72, 0.9, 0.95)
    halves = twins(at(0, v.size(0.12), -0.06, egg(0.43, 0.33, 0.43)))
    flesh = cut(halves, at(0, 0, 0.4, egg(0.1, 0.1, 0.1)))

    def swollen(p: Tensor) -> Tensor:
        return halves(p) - 0.03

    def drops(n: int, elevation: float, phase: float) -> Solid:
        through = turn("y", -elevation, rod((0.2, 0, 0), (0.6, 0, 0), 0.045))
        return both(swollen, around(n, through, phase))

    leaf = turn("x", 10, at(0, 0.15, 0, egg(0.1, 0.17, 0.03)))
    return [
        Part(flesh, skin),
        Part(rod((0, 0, 0.28), (-0.03, 0, 0.46), 0.035), BROWN),
        Part(at(0, 0, 0.4, leaf), (0.2, 0.55, 0.15)),
        Part(at(0, 0, 0.4, turn("z", v.pick(140, 180, 60), leaf)), (0.3, 0.65, 0.2)),
        Part(drops(6, 5, 20), dew),
        Part(drops(5, 32, 50), dew),
        Part(drops(6, -25, 45), dew),
    ]
