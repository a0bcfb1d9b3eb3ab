"""The colours of all pictures."""

# These stand for the page's text and background: replaced in SVG, near black and near white in PNG.
INK, PAPER = "#010203", "#fefdfc"
COLOURS = ("#8a8f98", "#3b82c4", "#d97b29", "#2f9e77", "#b0589f", "#c2504d", "#8c7a3f", "#5f6fc9")
