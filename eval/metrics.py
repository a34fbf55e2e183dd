"""The metrics, in the order of the tables: the paper's Table 1, then what it lacks, then what no table shows.

A new one is a file that declares it, and a line here.
"""

from __future__ import annotations

from eval import (
    clip_iqa,
    clip_score,
    divergence,
    image_reward,
    outside,
    r_precision,
    sides,
    solid,
    truth,
)
from eval.consistency import front_back, view_preference, warp_error
from eval.metric import Metric

METRICS: tuple[Metric, ...] = (
    clip_score.CLIP_SCORE,
    clip_iqa.QUALITY,
    clip_iqa.SHARPNESS,
    clip_iqa.REAL,
    image_reward.IMAGE_REWARD,
    r_precision.R_PRECISION,
    r_precision.R_PRECISION_2,
    clip_score.CLIP_SCORE_2,
    view_preference.VIEW_PREFERENCE,
    front_back.FRONT_BACK,
    warp_error.WARP_ERROR,
    truth.IOU,
    solid.VOLUME_IOU,
    solid.F_SCORE,
    solid.DEPTH_ERROR,
    truth.SCALE_ERROR,
    sides.CHIRALITY,
    sides.JANUS,
    truth.PSNR,
    truth.SSIM,
    truth.PSNR_NEAREST,
    truth.SHARPNESS,
    truth.CHROMA,
    truth.CLIPPED,
    truth.FOG,
    truth.AGREEMENT,
    divergence.OPACITY,
    truth.YAW,
    truth.SCALE,
    *(judge.metric for judge in outside.OUTSIDE.values()),
)
