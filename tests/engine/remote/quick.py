"""Stand-ins for jobs at nodes that tell the store of themselves five times a second. Nodes import it."""

from engine import claims
from tests.engine.executors.mixed import Mixed

claims.BEAT = 0.2


class Quick(Mixed):
    pass
