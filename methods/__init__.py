"""How a view is pulled toward the prior: one short file per method, and the only list of them."""

from methods.base import Method
from methods.sdi import SDI
from methods.sds import SDS

METHODS: dict[str, type[Method]] = {"sds": SDS, "sdi": SDI}
