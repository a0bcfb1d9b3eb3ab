"""Low-rank factorisation, with training of the factors."""
