"""Factors between units of length: files and the live program use metres, networks centimetres."""

METRES_PER_CENTIMETRE = 0.01
CENTIMETRES_PER_METRE = 100.0
CENTIMETRES_PER_DECIMETRE = 10.0
DECIMETRES_PER_METRE = 10.0
MILLIMETRES_PER_METRE = 1000.0
