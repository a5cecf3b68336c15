"""Factors between the units of length: files and the live program speak in metres, networks in centimetres."""

METRES_PER_CENTIMETRE = 0.01
CENTIMETRES_PER_METRE = 100.0
CENTIMETRES_PER_DECIMETRE = 10.0
DECIMETRES_PER_METRE = 10.0
MILLIMETRES_PER_METRE = 1000.0
