"""People, and what looks like them."""

from __future__ import annotations

from world.objects.toy import RED, Variant, toy
from world.sdf import Part, at, ball, box, egg, ring, rod, twins, where


@toy("An astronaut", front=True)
def astronaut(v: Variant) -> list[Part]:
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
