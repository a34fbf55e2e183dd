"""How a view is pulled toward the prior: one short file per method, and the only list of them."""

from methods.base import Method
from methods.csd import CSD
from methods.esd import ESD
from methods.hifa import HiFA
from methods.ism import ISM
from methods.nfsd import NFSD
from methods.sdi import SDI
from methods.sds import SDS
from methods.sjc import SJC
from methods.vsd import VSD

METHODS: dict[str, type[Method]] = {
    "sds": SDS,
    "sjc": SJC,
    "nfsd": NFSD,
    "csd": CSD,
    "vsd": VSD,
    "esd": ESD,
    "hifa": HiFA,
    "ism": ISM,
    "sdi": SDI,
}
