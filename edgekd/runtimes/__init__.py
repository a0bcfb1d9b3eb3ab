"""Runtimes, a folder each: files, sessions, layer times and rules.

To add one:

1. Its folder has ``runtime.py``, ``session.py`` and ``profile.py``, for one that loads files also ``rules.py``, and the
   others that it needs.
2. Its line in ``REGISTERED`` of :mod:`edgekd.runtime` is the folder's name.
3. Its tests are in ``tests/runtimes/NAME``; ``tests/runtimes/test_records.py`` checks every folder, and that no other
   code names a runtime.
4. It has a row in ``docs/runtimes.md``, and its int8 rules are in ``docs/quantization.md``.

==============  ======================================  ================================================================
File            Has                                     What for
==============  ======================================  ================================================================
``runtime.py``  ``RUNTIME``, a ``Runtime``              names, packages, profiles, devices; no import of edgekd's but
                                                        ``edgekd.runtime``
``session.py``  ``SESSION``, a ``Session``              loads a file or a network; ``run()`` is timed,
                                                        ``outputs(feeds)`` takes and gives arrays by name
``profile.py``  ``profile``; ``layer_times``            the time of each layer; the second if it ``records_kernels``
``rules.py``    ``TARGETS``, ``LintTarget`` by profile  ``edgekd lint``
``confirm.py``  ``float_convolutions(path)``            convolutions that the runtime computes in float
``writer.py``   ``WRITER``, a ``Writer``                how its file differs from that which its profile describes
``probe.py``    ``PROBE``, a ``RuntimeProbe``           its release on a device, if it is no Python package there
``remote.py``   ``measure``, ``predict``                its own way to run on a device
==============  ======================================  ================================================================

Modules that run on devices are named in the record as ``shipped``. They use the standard library, NumPy, the runtime
and :mod:`edgekd.agent`, in Python 3.8.
"""
