"""`python -m tests.published DIR`: write them, and say how runs find them."""

import argparse
from pathlib import Path

from engine.weights.manifest import PLACE
from tests.published import write

parser = argparse.ArgumentParser("python -m tests.published", description="The published weights, in small.")
parser.add_argument("dir", type=Path, metavar="DIR")
place = parser.parse_args().dir.absolute()
write(place)
print(f"export {PLACE}={place}")
