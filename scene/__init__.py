"""What is optimised: a radiance field, a voxel grid or a canvas, and the cameras that look at it."""
