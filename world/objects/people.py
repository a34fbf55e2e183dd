"""People, and what looks like them."""

from __future__ import annotations

from world.objects.toy import BLACK, BROWN, CREAM, GOLD, INK, RED, WHITE, YELLOW, Variant, toy
from world.sdf import (
    Part,
    Solid,
    Vec,
    above,
    around,
    at,
    ball,
    both,
    box,
    cut,
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

SKIN, SILVER = (0.93, 0.68, 0.5), (0.72, 0.75, 0.8)


def limb(*joints: Vec, r: float, end: float | None = None) -> Solid:
    """A bent arm, leg or tentacle through its joints, thinning from r to `end`."""
    n, end = len(joints) - 1, r if end is None else end
    radii = [r + (end - r) * k / n for k in range(n + 1)]
    return join(*(rod(joints[k], joints[k + 1], radii[k], radii[k + 1]) for k in range(n)))


@toy("An astronaut", front=True)
def astronaut(v: Variant) -> list[Part]:
    suit, grey, visor = (0.93, 0.94, 0.96), (0.55, 0.57, 0.62), (0.1, 0.16, 0.36)
    trim = v.pick((0.95, 0.45, 0.1), (0.1, 0.35, 0.85), RED)
    foot = v.size(0.11)
    return [
        Part(at(0, 0, -0.05, egg(0.15, 0.19, 0.2)), suit),
        Part(at(0, 0, 0.29, ball(0.2)), suit),
        Part(
            at(0.08, 0, 0.29, egg(0.15, 0.16, 0.13)),
            where(lambda p: p[:, 2] > 0.345, v.pick((0.4, 0.6, 0.85), GOLD), visor),
        ),
        Part(at(0.0, 0, 0.12, ring(0.13, 0.035)), trim),
        Part(twins(rod((0, 0.17, 0.04), (0.04, 0.31, -0.12), 0.075, 0.065)), suit, 0.03),
        Part(twins(at(0.05, 0.33, -0.16, ball(0.065))), trim),
        Part(twins(rod((0, 0.095, -0.18), (0.0, 0.11, -0.4), 0.09, 0.08)), suit, 0.03),
        Part(twins(at(0.03, 0.11, -0.46, egg(foot, 0.075, 0.055))), grey),
        Part(at(-0.2, 0, 0.0, box(0.08, 0.16, 0.19, 0.04)), grey),
        Part(twins(at(-0.2, 0.1, -0.14, rod((0, 0, 0), (0, 0, 0.26), 0.05))), (0.35, 0.37, 0.42)),
        Part(at(0.15, 0, 0.0, box(0.03, 0.08, 0.06, 0.015)), grey),
        Part(at(0.185, 0.035, 0.02, ball(0.018)), RED),
        Part(at(0.185, -0.035, 0.02, ball(0.018)), (0.2, 0.8, 0.3)),
        Part(twins(at(0.0, 0.2, 0.29, ball(0.05))), trim),
    ]


@toy("An astronaut is riding a horse", front=True)
def rider(v: Variant) -> list[Part]:
    coat = v.pick((0.5, 0.26, 0.1), (0.35, 0.2, 0.12), (0.62, 0.42, 0.22))
    mane, suit, grey, saddle = (0.16, 0.09, 0.05), (0.93, 0.94, 0.95), (0.55, 0.57, 0.62), v.pick(RED, (0.15, 0.3, 0.8))
    sock = where(lambda p: p[:, 2] < -0.4, mane, where(lambda p: p[:, 2] < -0.33, v.pick(coat, WHITE), coat))
    tail = v.size(0.2)
    return [
        Part(at(-0.03, 0, -0.13, egg(0.29, 0.12, 0.12)), coat),
        Part(rod((0.18, 0, -0.1), (0.33, 0, 0.13), 0.1, 0.07), coat, 0.05),
        Part(
            rod((0.33, 0, 0.16), (0.45, 0, 0.06), 0.08, 0.055), within(at(0.47, 0, 0.03, ball(0.07)), mane, coat), 0.03
        ),
        Part(twins(rod((0.3, 0.045, 0.22), (0.3, 0.055, 0.29), 0.03, 0.015)), coat),
        Part(twins(at(0.385, 0.07, 0.16, ball(0.024))), BLACK),
        Part(limb((0.3, 0, 0.24), (0.22, 0, 0.12), (0.12, 0, 0.0), r=0.045), mane),
        Part(twins(limb((0.16, 0.08, -0.16), (0.2, 0.08, -0.32), (0.17, 0.08, -0.46), r=0.06, end=0.042)), sock),
        Part(twins(limb((-0.22, 0.08, -0.15), (-0.26, 0.08, -0.3), (-0.22, 0.08, -0.445), r=0.075, end=0.042)), sock),
        Part(limb((-0.29, 0, -0.08), (-0.38, 0, -0.1), (-0.41, 0, -0.1 - tail), r=0.05, end=0.035), mane),
        Part(at(-0.05, 0, -0.06, egg(0.16, 0.135, 0.09)), saddle),
        Part(at(-0.06, 0, 0.13, egg(0.11, 0.12, 0.14)), suit),
        Part(at(-0.04, 0, 0.38, ball(0.15)), suit),
        Part(
            at(0.02, 0, 0.38, egg(0.115, 0.12, 0.1)),
            where(lambda p: p[:, 2] > 0.42, (0.4, 0.6, 0.85), (0.1, 0.16, 0.36)),
        ),
        Part(at(-0.05, 0, 0.245, ring(0.085, 0.03)), (0.95, 0.45, 0.1)),
        Part(at(-0.2, 0, 0.15, box(0.06, 0.11, 0.13, 0.03)), grey),
        Part(twins(limb((-0.05, 0.11, 0.18), (0.06, 0.17, 0.08), (0.17, 0.09, 0.1), r=0.05)), suit),
        Part(twins(limb((-0.05, 0.09, 0.03), (0.07, 0.17, -0.03), (0.04, 0.18, -0.2), r=0.06)), suit),
        Part(twins(at(0.07, 0.185, -0.24, egg(0.075, 0.045, 0.04))), grey),
    ]


@toy("A DSLR photo of Cthulhu", front=True)
def cthulhu(v: Variant) -> list[Part]:
    skin, dark, pale = (0.08, 0.32, 0.19), (0.04, 0.16, 0.12), (0.5, 0.74, 0.36)
    eye = v.pick((1.0, 0.3, 0.08), YELLOW, (0.75, 0.2, 0.9))
    drop = v.size(0.2)
    tentacles = join(
        limb((0.12, 0, 0.16), (0.24, 0, 0.08), (0.27, 0, 0.06 - drop), r=0.05, end=0.03),
        twins(limb((0.1, 0.06, 0.15), (0.21, 0.1, 0.06), (0.25, 0.12, 0.08 - drop), r=0.045, end=0.03)),
        twins(limb((0.06, 0.1, 0.15), (0.14, 0.18, 0.08), (0.22, 0.25, 0.12 - drop), r=0.045, end=0.03)),
    )
    scallops = join(at(-0.16, 0.4, -0.1, ball(0.14)), at(-0.16, 0.17, -0.14, ball(0.12)))
    membrane = cut(at(-0.16, 0.26, 0.15, turn("y", 90, drum(0.225, 0.025))), scallops)
    ribs = where(lambda p: ((p[:, 1].abs() / (p[:, 2] + 0.45)) / 0.28) % 1 < 0.3, pale, dark)
    sucker = stripes(2, 0.08, pale, (0.36, 0.6, 0.28))
    claw = join(*(rod((0, 0, 0), tip, 0.03, 0.014) for tip in ((0.1, 0.07, 0.03), (0.12, 0, 0.05), (0.1, -0.07, 0.03))))
    return [
        Part(at(-0.02, 0, -0.15, egg(0.18, 0.2, 0.23)), skin),
        Part(at(-0.04, 0, 0.28, egg(0.18, 0.18, 0.25)), skin, 0.04),
        Part(twins(at(0.1, 0.1, 0.27, ball(0.062))), within(twins(at(0.16, 0.11, 0.275, ball(0.025))), BLACK, eye)),
        Part(twins(rod((0.14, 0.02, 0.31), (0.1, 0.17, 0.36), 0.035)), dark),
        Part(tentacles, sucker, 0.02),
        Part(twins(limb((-0.02, 0.16, 0.0), (0.02, 0.31, -0.1), (0.2, 0.34, -0.12), r=0.075, end=0.055)), skin, 0.04),
        Part(twins(at(0.23, 0.34, -0.12, claw)), CREAM),
        Part(twins(limb((0, 0.11, -0.26), (0.1, 0.19, -0.3), (0.04, 0.18, -0.44), r=0.1, end=0.075)), skin, 0.03),
        Part(twins(at(0.1, 0.17, -0.45, claw)), CREAM),
        Part(twins(membrane), ribs),
        Part(twins(limb((-0.14, 0.06, 0.0), (-0.16, 0.28, 0.39), (-0.15, 0.45, 0.22), r=0.035, end=0.025)), skin),
    ]


@toy("Pumpkin head zombie, skinny, highly detailed, photorealistic", front=True)
def zombie(v: Variant) -> list[Part]:
    rind, groove, flesh = (0.97, 0.46, 0.05), (0.82, 0.32, 0.03), (0.5, 0.6, 0.38)
    shirt = v.pick((0.36, 0.3, 0.46), (0.3, 0.36, 0.4), (0.5, 0.2, 0.18))
    trousers, hole = (0.28, 0.22, 0.18), v.pick(BLACK, (1.0, 0.9, 0.3))
    arm = v.size(0.3)

    def carved(p):  # two triangles and a jagged grin, in the plane of the face
        y, z = p[:, 1].abs(), p[:, 2] - 0.29
        eye = (z > 0.02) & (z < 0.12) & ((y - 0.09).abs() < 0.65 * (0.12 - z))
        grin = (z < -0.03) & (z > -0.12 + 3 * y**2) & ~((z > -0.07) & ((y - 0.05).abs() < 0.022))
        return (p[:, 0] > 0) & (eye | grin & (y < 0.155))

    def torn(p):  # rags end in teeth
        return p[:, 2] < -0.17 + 0.05 * ((p[:, 1] / 0.07) % 1)

    ribs = around(9, at(0.1, 0, 0, egg(0.12, 0.085, 0.175)))
    return [
        Part(at(0, 0, 0.29, ribs), where(carved, hole, fade(2, 0.1, 0.45, groove, rind))),
        Part(limb((0, 0, 0.42), (0, 0, 0.48), (-0.04, 0.02, 0.525), r=0.04, end=0.025), (0.25, 0.42, 0.12)),
        Part(rod((0, 0, 0.15), (0, 0, 0.02), 0.04), flesh),
        Part(at(0, 0, -0.05, box(0.055, 0.11, 0.14, 0.04)), where(torn, flesh, shirt)),
        Part(twins(rod((0, 0.13, 0.05), (0.16, 0.14, 0.03), 0.05)), shirt, 0.02),
        Part(twins(rod((0.1, 0.14, 0.03), (0.1 + arm, 0.13, 0.06), 0.032)), flesh),
        Part(twins(rod((0.1 + arm, 0.13, 0.06), (0.16 + arm, 0.13, 0.0), 0.04, 0.025)), flesh),
        Part(at(0, 0, -0.2, box(0.055, 0.1, 0.06, 0.03)), trousers),
        Part(limb((0, 0.06, -0.2), (0.1, 0.08, -0.34), (0.05, 0.09, -0.46), r=0.042), trousers),
        Part(limb((0, -0.06, -0.2), (-0.02, -0.08, -0.34), (-0.12, -0.09, -0.46), r=0.042), trousers),
        Part(at(0.09, 0.09, -0.48, egg(0.09, 0.045, 0.035)), flesh),
        Part(at(-0.08, -0.09, -0.48, egg(0.09, 0.045, 0.035)), flesh),
    ]


@toy("A DSLR photo of a an old man", front=True)
def old_man(v: Variant) -> list[Part]:
    wool = v.pick((0.2, 0.36, 0.26), (0.5, 0.16, 0.18), (0.62, 0.45, 0.16))
    snow, shirt, trousers, wood = (0.94, 0.93, 0.9), (0.75, 0.82, 0.9), (0.42, 0.36, 0.3), (0.45, 0.22, 0.08)
    beard = v.size(0.15)
    lens = turn("y", 90, ring(0.06, 0.014))
    return [
        Part(
            at(0, 0, -0.14, egg(0.16, 0.19, 0.22)), where(lambda p: (p[:, 1].abs() < 0.05) & (p[:, 0] > 0), shirt, wool)
        ),
        Part(at(-0.08, 0, 0.0, egg(0.14, 0.16, 0.12)), wool, 0.04),
        Part(at(0.06, 0, 0.29, egg(0.19, 0.19, 0.21)), SKIN),
        Part(at(0.17, 0, 0.1, egg(0.1, 0.15, beard)), snow),
        Part(twins(rod((0.235, 0.015, 0.2), (0.2, 0.11, 0.17), 0.035, 0.025)), snow),
        Part(at(0.26, 0, 0.25, ball(0.045)), (0.95, 0.55, 0.45)),
        Part(twins(at(0.235, 0.08, 0.29, lens)), (0.2, 0.14, 0.1)),
        Part(
            twins(at(0.215, 0.08, 0.29, ball(0.045))),
            within(twins(at(0.26, 0.08, 0.29, ball(0.024))), INK, (0.8, 0.9, 0.95)),
        ),
        Part(twins(rod((0.225, 0.04, 0.39), (0.195, 0.12, 0.375), 0.025)), snow),
        Part(twins(at(0.02, 0.17, 0.24, egg(0.08, 0.06, 0.1))), snow),
        Part(at(-0.09, 0, 0.24, egg(0.07, 0.15, 0.1)), snow),
        Part(limb((-0.02, -0.17, 0.02), (0.06, -0.27, -0.1), (0.23, -0.21, -0.1), r=0.065), wool),
        Part(at(0.26, -0.21, -0.07, ball(0.06)), SKIN),
        Part(limb((0.265, -0.21, -0.4), (0.26, -0.21, 0.0), (0.18, -0.21, 0.02), r=0.026), wood),
        Part(limb((-0.02, 0.17, 0.02), (-0.02, 0.3, -0.12), (0.06, 0.27, -0.25), r=0.065), wool),
        Part(at(0.08, 0.26, -0.28, ball(0.06)), SKIN),
        Part(twins(rod((0, 0.09, -0.28), (0, 0.1, -0.45), 0.085)), trousers),
        Part(twins(at(0.04, 0.1, -0.48, egg(0.11, 0.075, 0.045))), (0.25, 0.13, 0.07)),
    ]


@toy("Renaissance-style oil painting of a queen", front=True)
def queen(v: Variant) -> list[Part]:
    gilt, deep, wood, canvas = (0.92, 0.68, 0.16), (0.62, 0.38, 0.06), (0.36, 0.22, 0.1), (0.78, 0.7, 0.54)
    gown = v.pick((0.52, 0.04, 0.12), (0.1, 0.2, 0.5), (0.12, 0.36, 0.2))
    hair, skin = v.pick((0.6, 0.22, 0.06), BROWN, (0.85, 0.62, 0.25)), (0.96, 0.8, 0.68)
    tall = v.size(0.08)
    frame = cut(box(0.06, 0.35, 0.42, 0.03), box(0.2, 0.28, 0.35, 0.01))
    fillet = cut(box(0.075, 0.3, 0.37, 0.02), box(0.2, 0.27, 0.34, 0.01))
    front = turn("y", 90, above(-0.02))
    lace, shadow = segments(12, WHITE, (0.75, 0.74, 0.76)), (0.16, 0.2, 0.14)
    gold_front = where(lambda p: (p[:, 1].abs() < 0.05) & (p[:, 0] > 0.03), GOLD, gown)

    def behind(p):
        return p[:, 0] < -0.045

    return [
        Part(frame, where(behind, wood, stripes(2, 0.12, gilt, (0.82, 0.56, 0.1)))),
        Part(fillet, where(behind, wood, deep)),
        Part(at(-0.03, 0, 0, box(0.015, 0.3, 0.37, 0.005)), where(lambda p: p[:, 0] < -0.03, canvas, shadow)),
        Part(at(-0.05, 0, 0, box(0.02, 0.025, 0.37, 0.005)), wood),
        Part(at(-0.05, 0, 0, box(0.02, 0.3, 0.025, 0.005)), wood),
        Part(both(at(0.0, 0, -0.3, egg(0.19, 0.26, 0.26)), both(front, above(-0.36))), gold_front),
        Part(both(front, twins(at(0.05, 0.19, -0.15, ball(0.085)))), gown),
        Part(both(front, at(0.07, 0, -0.05, turn("y", 20, drum(0.19, 0.035, 0.02)))), lace),
        Part(both(front, at(0.04, 0, 0.12, egg(0.12, 0.17, 0.17))), hair),
        Part(both(front, at(0.09, 0, 0.09, egg(0.12, 0.12, 0.15))), skin),
        Part(twins(at(0.2, 0.05, 0.11, ball(0.022))), INK),
        Part(at(0.205, 0, 0.02, egg(0.02, 0.04, 0.02)), RED),
        Part(both(front, at(0.06, 0, 0.26, drum(0.13, 0.04, 0.01, top=0.15))), GOLD),
        Part(both(front, at(0.06, 0, 0.29, around(5, rod((0.13, 0, 0), (0.15, 0, tall), 0.04, 0.02)))), GOLD),
        Part(at(0.2, 0, 0.27, ball(0.032)), RED),
        Part(at(0.185, 0, -0.2, ball(0.045)), (0.2, 0.7, 0.4)),
    ]


@toy("A photograph of a policeman", front=True)
def policeman(v: Variant) -> list[Part]:
    navy, badge, hair = (0.08, 0.13, 0.4), v.pick(GOLD, SILVER), v.pick(BROWN, INK, (0.8, 0.55, 0.25))
    belted = where(lambda p: (p[:, 2] + 0.2).abs() < 0.032, BLACK, navy)
    peak = v.size(0.11)
    return [
        Part(at(0, 0, -0.12, egg(0.15, 0.19, 0.22)), belted),
        Part(
            join(at(0.135, 0, -0.02, ball(0.032)), at(0.15, 0, -0.11, ball(0.032)), at(0.14, 0, -0.2, ball(0.04))),
            badge,
        ),
        Part(at(0.115, 0.09, -0.02, turn("y", 90, around(5, rod((0, 0, 0), (0.045, 0, 0), 0.03, 0.012)))), badge),
        Part(at(0.02, 0, 0.2, ball(0.18)), SKIN),
        Part(at(-0.03, 0, 0.2, ball(0.175)), hair),
        Part(twins(at(0.185, 0.065, 0.21, ball(0.026))), BLACK),
        Part(at(0.205, 0, 0.17, ball(0.035)), (0.95, 0.6, 0.48)),
        Part(twins(rod((0.2, 0.01, 0.125), (0.17, 0.085, 0.11), 0.026, 0.018)), hair),
        Part(at(0.01, 0, 0.31, drum(0.185, 0.035)), BLACK),
        Part(at(0.01, 0, 0.39, drum(0.19, 0.05, 0.02, top=0.26)), navy),
        Part(at(0.01, 0, 0.43, egg(0.245, 0.245, 0.06)), navy),
        Part(at(0.17, 0, 0.295, turn("y", 12, egg(peak, 0.16, 0.025))), BLACK),
        Part(at(0.22, 0, 0.37, egg(0.03, 0.05, 0.055)), badge),
        Part(limb((0, -0.16, 0.0), (0.05, -0.32, -0.02), (0.1, -0.36, 0.2), r=0.065), navy),
        Part(at(0.1, -0.36, 0.27, egg(0.045, 0.065, 0.085)), WHITE),
        Part(limb((0, 0.16, 0.0), (0.03, 0.31, -0.12), (0.14, 0.31, -0.18), r=0.065), navy),
        Part(at(0.17, 0.31, -0.19, ball(0.06)), WHITE),
        Part(rod((0.1, 0.31, -0.35), (0.26, 0.31, 0.04), 0.028), INK),
        Part(twins(rod((0, 0.09, -0.27), (0, 0.1, -0.44), 0.08)), navy),
        Part(twins(at(0.04, 0.1, -0.48, egg(0.11, 0.075, 0.045))), BLACK),
    ]


@toy("A photograph of a ninja", front=True)
def ninja(v: Variant) -> list[Part]:
    cloth, fold = (0.08, 0.08, 0.1), (0.16, 0.16, 0.2)
    sash = v.pick((0.86, 0.06, 0.1), (0.15, 0.3, 0.85), (0.5, 0.1, 0.6))
    blade = v.size(0.2)
    strip = both(at(0.15, 0, 0.27, box(0.2, 0.14, 0.05, 0.03)), above(-1.0))
    star = around(4, rod((0, 0, 0), (0.12, 0, 0), 0.045, 0.012), phase=v.pick(0.0, 45.0))
    return [
        Part(at(0, 0, -0.08, egg(0.14, 0.17, 0.18)), cloth),
        Part(at(0.02, 0, 0.25, ball(0.19)), within(strip, SKIN, cloth)),
        Part(twins(at(0.195, 0.065, 0.27, ball(0.03))), WHITE),
        Part(twins(at(0.22, 0.065, 0.27, ball(0.018))), BLACK),
        Part(at(0.02, 0, 0.36, ring(0.155, 0.035)), sash),
        Part(limb((-0.15, 0.02, 0.36), (-0.27, 0.08, 0.34), (-0.34, 0.1, 0.22), r=0.035), sash),
        Part(at(0, 0, -0.16, drum(0.165, 0.05, 0.02)), sash),
        Part(limb((0.13, 0.08, -0.17), (0.2, 0.1, -0.24), (0.2, 0.12, -0.34), r=0.035), sash),
        Part(limb((0, 0.15, 0.02), (0.02, 0.33, 0.0), (0.12, 0.36, -0.12), r=0.06), cloth),
        Part(at(0.14, 0.36, -0.15, ball(0.055)), SKIN),
        Part(limb((0, -0.15, 0.02), (0.1, -0.28, 0.0), (0.18, -0.29, 0.12), r=0.06), cloth),
        Part(at(0.2, -0.29, 0.15, ball(0.055)), SKIN),
        Part(at(0.26, -0.29, 0.18, turn("y", 90, star)), (0.86, 0.88, 0.92)),
        Part(twins(limb((0, 0.08, -0.22), (0.12, 0.23, -0.26), (0.02, 0.25, -0.41), r=0.085, end=0.06)), cloth),
        Part(twins(at(0.06, 0.25, -0.43, egg(0.1, 0.06, 0.045))), fold),
        Part(rod((-0.19, 0.14, -0.16), (-0.19, -0.16, 0.2), 0.04), (0.45, 0.1, 0.08)),
        Part(at(-0.19, -0.165, 0.205, turn("x", 40, drum(0.08, 0.015))), GOLD),
        Part(rod((-0.19, -0.16, 0.2), (-0.19, -0.16 - 0.64 * blade, 0.2 + 0.77 * blade), 0.032), INK),
    ]


@toy("A photograph of a knight", front=True)
def knight(v: Variant) -> list[Part]:
    steel, dark, plume = (0.74, 0.77, 0.82), (0.46, 0.49, 0.55), v.pick((0.88, 0.06, 0.08), (0.1, 0.25, 0.85), YELLOW)
    field, cross = v.pick((RED, WHITE), ((0.1, 0.25, 0.7), GOLD), (WHITE, RED))
    length = v.size(0.4)
    slit = join(at(0.2, 0, 0.26, box(0.1, 0.13, 0.025, 0.005)), at(0.2, 0, 0.18, box(0.1, 0.012, 0.07, 0.005)))
    shield = both(egg(0.05, 0.17, 0.26), at(0, 0, -0.1, box(0.1, 0.15, 0.22, 0.02)))
    arms = where(lambda p: (p[:, 1] - 0.29).abs().minimum((p[:, 2] + 0.1).abs()) < 0.035, cross, field)
    return [
        Part(at(0, 0, -0.1, egg(0.15, 0.18, 0.2)), steel),
        Part(at(0, 0, -0.24, drum(0.19, 0.06, 0.02, top=0.15)), stripes(2, 0.06, steel, dark)),
        Part(
            at(0.02, 0, 0.23, join(egg(0.18, 0.18, 0.2), at(0, 0, -0.06, drum(0.17, 0.1)))), within(slit, BLACK, steel)
        ),
        Part(at(0.02, 0, 0.32, ring(0.165, 0.025)), GOLD),
        Part(limb((0.06, 0, 0.42), (-0.06, 0, 0.47), (-0.21, 0, 0.4), (-0.28, 0, 0.2), r=0.06, end=0.07), plume),
        Part(twins(at(0, 0.19, 0.05, ball(0.09))), dark),
        Part(limb((0, 0.19, 0.03), (0.02, 0.28, -0.12), (0.14, 0.28, -0.1), r=0.055), steel),
        Part(at(0.2, 0.29, -0.06, shield), where(lambda p: p[:, 0] < 0.19, BROWN, arms)),
        Part(limb((0, -0.19, 0.03), (0.02, -0.29, -0.1), (0.18, -0.29, -0.11), r=0.055), steel),
        Part(at(0.19, -0.29, -0.11, ball(0.06)), dark),
        Part(rod((0.19, -0.29, -0.2), (0.19, -0.29, -0.04), 0.028), BROWN),
        Part(at(0.19, -0.29, -0.04, box(0.03, 0.09, 0.025, 0.01)), GOLD),
        Part(at(0.19, -0.29, -0.04 + length / 2, box(0.02, 0.035, length / 2, 0.012)), (0.88, 0.91, 0.95)),
        Part(twins(rod((0, 0.09, -0.28), (0, 0.1, -0.44), 0.08)), stripes(2, 0.11, steel, dark)),
        Part(twins(at(0.04, 0.1, -0.48, egg(0.11, 0.075, 0.045))), dark),
    ]


@toy("A photograph of a firefighter", front=True)
def firefighter(v: Variant) -> list[Part]:
    coat = v.pick((0.93, 0.72, 0.14), (0.76, 0.6, 0.36), (0.9, 0.45, 0.08))
    helmet, band, hose = v.pick((0.86, 0.06, 0.06), (0.9, 0.88, 0.84), BLACK), (0.8, 0.86, 0.86), (0.3, 0.32, 0.36)
    brim = v.size(0.2)
    striped = where(lambda p: ((p[:, 2] + 0.13).abs() < 0.03) | ((p[:, 2] + 0.28).abs() < 0.025), band, coat)
    cuff = where(lambda p: (p[:, 0] > 0.11) & (p[:, 0] < 0.16), band, coat)
    return [
        Part(at(0, 0, -0.15, drum(0.21, 0.2, 0.05, top=0.14)), striped),
        Part(at(0.03, 0, 0.18, ball(0.18)), within(twins(at(0.2, 0.065, 0.2, ball(0.032))), BLACK, SKIN)),
        Part(at(0.215, 0, 0.15, ball(0.035)), (0.95, 0.58, 0.46)),
        Part(twins(rod((0.2, 0.01, 0.1), (0.18, 0.07, 0.095), 0.024)), v.pick(BROWN, INK, SKIN)),
        Part(both(at(0.02, 0, 0.28, egg(0.2, 0.19, 0.2)), above(0.25)), helmet),
        Part(at(-0.02, 0, 0.27, turn("y", -8, egg(brim + 0.08, brim, 0.03))), helmet),
        Part(at(0.0, 0, 0.37, box(0.19, 0.025, 0.13, 0.06)), helmet),
        Part(at(0.21, 0, 0.36, turn("y", -15, egg(0.025, 0.07, 0.085))), GOLD),
        Part(limb((0, 0.16, 0.0), (0.06, 0.27, -0.1), (0.24, 0.11, -0.12), r=0.065), cuff),
        Part(limb((0, -0.16, 0.0), (0.04, -0.28, -0.08), (0.14, -0.2, -0.13), r=0.065), cuff),
        Part(at(0.25, 0.08, -0.12, ball(0.06)), INK),
        Part(at(0.19, -0.15, -0.14, ball(0.06)), INK),
        Part(limb((0.29, 0.16, -0.1), (0.08, -0.33, -0.17), (-0.16, -0.28, -0.38), r=0.045), hose),
        Part(rod((0.29, 0.14, -0.1), (0.32, 0.23, -0.07), 0.05, 0.065), GOLD),
        Part(limb((0.32, 0.25, -0.06), (0.34, 0.35, -0.01), r=0.035, end=0.055), (0.45, 0.75, 0.95)),
        Part(twins(rod((-0.19, 0.075, -0.22), (-0.19, 0.075, 0.02), 0.075)), (0.85, 0.12, 0.08)),
        Part(twins(rod((0, 0.1, -0.3), (0, 0.11, -0.44), 0.085)), striped),
        Part(twins(at(0.04, 0.11, -0.475, egg(0.11, 0.08, 0.05))), BLACK),
    ]
