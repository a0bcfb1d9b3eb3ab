"""Codes of the warnings under which a measured time is not what it claims to be."""

# Others took so much of the processors that the cost cannot be told; another moment may be quieter.
OTHERS_TOOK_TIME = "others_took_time"
# Joules would be theirs too; times are what they are.
POWER_OF_OTHERS = "power_of_others"
# With any other warning the machine was merely not at rest.
INVALIDATING = {"too_few_samples", OTHERS_TOOK_TIME, "too_few_cpus", "throttled", "emulated", "other_power_mode"}
# What lasts as long as the machine and the plan are what they are. All else is better measured again.
LASTING = {"too_few_cpus", "emulated", "other_power_mode"}
TRANSIENT = (INVALIDATING - LASTING) | {"cut_short", "time_limit", POWER_OF_OTHERS}
