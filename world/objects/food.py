"""Toys to eat."""

from __future__ import annotations

from world.objects.toy import GREEN, RED, WHITE, Variant, toy
from world.sdf import Part, above, around, at, ball, both, box, dots, drum, egg, fade, join, ring, rod, stripes, turn


@toy("A ripe strawberry")
def strawberry(v: Variant) -> list[Part]:
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
def sundae(v: Variant) -> list[Part]:
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


@toy("A DSLR photograph of a hamburger")
def hamburger(v: Variant) -> list[Part]:
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
