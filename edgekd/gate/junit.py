"""The verdict as JUnit XML, which every CI server shows as tests."""

from xml.etree import ElementTree

from edgekd import plain_text
from edgekd.gate.verdict import Verdict


def render_junit(verdict: Verdict) -> str:
    """Return JUnit XML with a test case for each finding; warnings are its output, since JUnit has none."""
    failed = verdict.at("fail")
    counts = {"tests": str(len(verdict.findings)), "failures": str(len(failed)), "errors": "0"}
    suites = ElementTree.Element("testsuites", counts)
    suite = ElementTree.SubElement(suites, "testsuite", {"name": f"edgekd check {_clean(verdict.name)}", **counts})
    for finding in verdict.findings:
        about = {"classname": _clean(finding.place), "name": finding.metric}
        case = ElementTree.SubElement(suite, "testcase", about)
        said = _clean(f"{finding.baseline} to {finding.current}: {finding.what}")
        if finding.level == "fail":
            failure = ElementTree.SubElement(case, "failure", {"message": said})
            failure.text = _clean(finding.advice)
        else:
            ElementTree.SubElement(case, "system-out").text = f"{finding.level}: {said}"
    ElementTree.indent(suites)
    return '<?xml version="1.0" encoding="utf-8"?>\n' + ElementTree.tostring(suites, encoding="unicode") + "\n"


def _clean(text: str) -> str:
    """Without the characters that XML cannot hold."""
    return plain_text.xml(text)
