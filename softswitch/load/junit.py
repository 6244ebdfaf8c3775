"""The result as JUnit XML, which every CI reads: one test case for each threshold and each finding, and where
no threshold says how many may fail, one for calls that failed."""

from __future__ import annotations

from xml.etree import ElementTree as ET

from softswitch.load.result import Result


def junit(result: Result) -> bytes:
    """UTF-8 XML."""
    suite = ET.Element("testsuite", name=f"softswitch load {result.scenario}")
    seconds = f"{result.figures.get('seconds', 0):.0f}"
    cases: list[tuple[str, str | None]] = []
    for entry in result.failed_if:
        cases.append((f"not {entry['text']}", str(entry["text"]) if entry["failed"] else None))
    for entry in result.findings:
        cases.append(
            (f"no {entry['code']}", "; ".join([f"{entry['count']} times", *entry["examples"]]))
        )
    if not result.failed_if:
        causes = [f"{many} times {cause}" for cause, many in list(result.causes.items())[:10]]
        cases.append(("no call failed", "; ".join(causes) or None))
    if not result.findings:
        cases.append(("no fault found", None))
    if result.saturated:
        cases.append(("generator not saturated", result.saturated))
    failures = 0
    for name, problem in cases:
        case = ET.SubElement(suite, "testcase", classname=result.scenario, name=name, time=seconds)
        if problem is not None:
            failures += 1
            ET.SubElement(case, "failure", message=problem).text = problem
    suite.set("tests", str(len(cases)))
    suite.set("failures", str(failures))
    properties = ET.Element("properties")
    for key, value in sorted(result.figures.items()):
        ET.SubElement(properties, "property", name=key, value=f"{value:g}")
    suite.insert(0, properties)
    ET.indent(suite)
    text: bytes = ET.tostring(suite, encoding="utf-8", xml_declaration=True)
    return text + b"\n"
