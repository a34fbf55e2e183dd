"""The parts of a bench, in words: read without torch."""

PARTS = {
    "hash_encoding": "the hash encoding against eight gathers a level with autograd",
    "kernels": "marching, compositing and perceptrons against plain torch",
    "sdi_step": "a step of SDI by kernels and the traced U-Net against neither",
    "parts": "a step's time by part",
    "memory": "its memory at the peak",
    "floor": "the least time its arithmetic can take, and the share reached",
    "scenes": "scenes an hour, 1, 2 and 4 together in a process",
    "costs": "a step against resolution, samples a ray, inversion steps",
}
KERNELS = {"hash_encoding", "kernels"}  # what needs no prior
