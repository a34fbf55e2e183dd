"""Animals, plush, stone and alive."""

from __future__ import annotations

from world.objects.toy import BLACK, CREAM, INK, WHITE, Variant, toy
from world.sdf import Part, above, at, ball, both, dots, egg, rod, turn, twins, within


@toy("A plush dragon toy", front=True)
def dragon(v: Variant) -> list[Part]:
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
def turtle(v: Variant) -> list[Part]:
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


@toy("A DSLR photo of a white fluffy cat", front=True)
def cat(v: Variant) -> list[Part]:
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
