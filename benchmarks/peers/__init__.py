"""Our recipes beside those of other tools, on the same graphs, calibration data, held-out inputs and simulator."""
