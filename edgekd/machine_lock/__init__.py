"""A lock for the whole machine: one process times, or any number train.

Both sides are :func:`fcntl.flock` on two files that every user can open and nobody writes. ``edgekd-machine.lock`` is
shared by processes that train, and held alone by one that times. ``edgekd-machine.queue`` is held by the one that times
or waits to time. Who trains passes through it, so that no stream of trainings keeps a timing waiting. The kernel frees
both when their holder dies.

The files lie in the first of ``/run/lock``, ``/tmp`` and ``/var/tmp`` in which all users may make files and none may
remove another's: it is the same one for everybody. ``EDGEKD_MACHINE_LOCK`` names another folder, or is ``off``.

A container has folders of its own unless the machine's is mounted into it, and machines that share a disk share no
lock. Any user can hold the lock for good; who waits says for whom.
"""

from edgekd.machine_lock.lock import give_way, timing, training

__all__ = ["give_way", "timing", "training"]
