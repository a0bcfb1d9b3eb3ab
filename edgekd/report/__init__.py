"""The report of a run, as a page, a table and pictures.

``schema`` is report.json, ``budget`` compares it with the recipe's budget, and ``html``, ``markdown``,
``table`` and ``plots`` render it. Every rendering takes the document as a dict. ``comparison`` and
``comparison_page`` compare several runs.

The metrics of a stage are free, and these are rendered if they are there: ``params`` and ``macs`` after
the stage; ``history``, a list of ``{epoch, loss, lr, validation_METRIC}``, with ``agreement`` where there is a
teacher; and from pruning ``widths``, a list of ``{layer, before, after}``.
"""
