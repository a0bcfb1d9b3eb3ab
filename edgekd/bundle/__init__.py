"""Bundles: one folder with all that a device needs, as it was measured.

``pack`` writes it, ``verify`` reads it with the standard library alone and refuses any change, ``predict`` runs it in
ONNX Runtime. The manifest's seal finds damage and careless edits. Against an attacker, sign the folder and check the
signature before ``verify``.
"""
