"""The regression gate: the verdict on a report against a baseline.

Nothing here imports torch.
"""

from edgekd.gate.check import check as check
from edgekd.gate.comparable import NotComparable as NotComparable
from edgekd.gate.policy import Policy as Policy
from edgekd.gate.policy import load_policy as load_policy
from edgekd.gate.rules import Rule as Rule
from edgekd.gate.subject import GateSubject as GateSubject
from edgekd.gate.subject import load_subject as load_subject
from edgekd.gate.verdict import Finding as Finding
from edgekd.gate.verdict import Verdict as Verdict
