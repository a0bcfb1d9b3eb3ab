"""OpenVINO on CPUs: sessions, the graph that it executes, files and rules that were learned from it."""
