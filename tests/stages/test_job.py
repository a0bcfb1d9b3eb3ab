from dataclasses import replace

from torch import nn

from edgekd.stages.job import Job


def test_no_batch_of_one_sample_is_left_over(few_digits, tmp_path):
    """BatchNorm of vectors could not take its variance."""
    count = len(few_digits.train)

    def sizes(batch_size: int, batches: int) -> list[int]:
        data = replace(few_digits, batch_size=batch_size)
        job = Job("", nn.Identity(), None, None, data, 0, None, tmp_path, print)
        return [len(targets) for _, targets in job.labelled(batches)]

    assert sizes(count - 1, 4) == [count - 1]
    assert sizes(count - 2, 4) == [count - 2, 2]
    assert sizes(1, 3) == [1, 1, 1]
