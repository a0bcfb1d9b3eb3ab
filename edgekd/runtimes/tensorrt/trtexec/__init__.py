"""NVIDIA's ``trtexec``: command lines for every release from 8.2 to 11, and what it prints and writes."""
