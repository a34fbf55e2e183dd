"""What is optimised: a radiance field or a canvas, and the cameras that look at it."""
