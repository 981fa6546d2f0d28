"""Our recipes beside those of other tools, on the same graphs, calibration data, held-out inputs and simulator."""

MODELS = ("digits", "digits_mobilenet", "digits_efficientnet", "fer", "mean_spot_cbam", "speech")
