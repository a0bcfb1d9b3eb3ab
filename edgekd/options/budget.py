"""What a student must keep to."""

from pydantic import Field

from edgekd.options.section import Section


class Budget(Section):
    """What the student must keep to; a limit left out is not checked."""

    accuracy_drop: float | None = Field(
        default=None, description="points of accuracy that the student may lose to the teacher"
    )
    latency_ratio: float | None = Field(default=None, gt=0, description="student latency over teacher latency, at most")
    size_ratio: float | None = Field(default=None, gt=0, description="student size over teacher size, at most")
    latency_ms: float | None = Field(default=None, gt=0, description="student latency in milliseconds, at most")
    size_mb: float | None = Field(default=None, gt=0, description="student size in megabytes, at most")
