"""The toys: one object for a prompt, one screen each. Front is +x, left is +y, up is z; cut to a radius of .56.

To add one: write a function that returns its parts, under `@toy("the prompt, verbatim")`, in the chapter where a reader
would look for it, with `front=True` where a person could tell its front from its back; look at it with
`python -m world.sheet --only "the prompt"`.
"""

from world.objects import animals, food, people, things
from world.objects.toy import OBJECTS, Toy, Variant

__all__ = ["OBJECTS", "Toy", "Variant", "animals", "food", "people", "things"]
