"""Small networks of depthwise convolutions with squeeze-and-excitation gates, trained on digits."""
