"""Roles of a report's networks: which is the teacher, which is deployed. The order of its rows must agree."""

from collections.abc import Mapping
from typing import Any

from edgekd.records.readers import Malformed, brief
from edgekd.records.rows import judged_at, place_of

WITH_ROLES = 2  # the first version whose rows have roles


def roles_must_agree(report: Mapping[str, Any]) -> None:
    """Check the roles of a report's rows and its deployed network; version 1 may be without them.

    Raises:
        Malformed: they are missing, contradict each other, or contradict the order of the rows, which is all that
            version 1 has: the teacher's first, the deployed network's last.
    """
    rows, deployed = report.get("rows") or [], report.get("deployed")
    roles: dict[str, str | None] = {}
    for number, row in enumerate(rows):
        role = row.get("role")
        if roles.setdefault(row["model"], role) != role:
            raise Malformed(f"rows.{number}.role", f"{brief(row['model'])} has another role in an earlier row")
        if role == "ensemble" and (row.get("file") or row.get("latency_ms")):
            raise Malformed(f"rows.{number}.role", "an ensemble of teachers has no file and no latency")
        if role == "teacher" and row.get("latency_vs_teacher"):
            raise Malformed(f"rows.{number}.latency_vs_teacher", "a teacher is not timed against itself")
    is_old = report.get("schema_version", 1) < WITH_ROLES
    if not rows or (is_old and deployed is None and not any(roles.values())):
        return
    if deployed is None or not all(roles.values()):
        raise Malformed("deployed", "not all rows have a role, or the deployed network is not named")
    if list(roles.values()).count("teacher") != 1:
        raise Malformed("rows", "one network is the teacher, and it is not said of just one")
    if roles[rows[0]["model"]] != "teacher":
        raise Malformed("rows.0.role", "the teacher's rows come first")
    judged = rows[judged_at(rows)]
    if (deployed["model"], deployed["place"]) != (judged["model"], place_of(judged)):
        said = f"{brief(deployed['model'])} on {brief(deployed['place'])}"
        raise Malformed("deployed", f"{said}, and by their order {brief(judged['model'])} on {place_of(judged)}")
    if roles[deployed["model"]] != "student" and "student" in roles.values():
        raise Malformed("deployed.model", f"{brief(deployed['model'])} is no student, and there are students")
