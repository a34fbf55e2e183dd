"""The gate: was a run reproduced, did it regress, and did it train otherwise? Each is answered apart."""

from reports.gate.judge import Verdicts as Verdicts
from reports.gate.judge import check as check
from reports.gate.reference import Reference as Reference
from reports.gate.reference import read as read
from reports.gate.reference import save as save
