"""The recipe of a search that takes minutes, on digits of 8 pixels: two kinds of students, which are cut by size."""


def small_search(teacher: int, distill: int, prune: int) -> str:
    """Return the recipe up to its prune stage, with so many epochs of each training."""
    return f"""\
name: toy
data: {{source: digits, train_limit: 400, test_limit: 100, batch_size: 50}}
teacher: {{model: small_cnn, args: {{width: 16}}, train: {{epochs: {teacher}, lr: 0.1}}}}
student: {{choice: [teacher, {{model: small_cnn, args: {{width: 8}}}}]}}
stages:
  - distill: {{epochs: {distill}}}
  - prune: {{macs: {{search: [0.3, 0.9]}}, round_to: 2, check_latency: false, epochs: {prune}}}
"""
