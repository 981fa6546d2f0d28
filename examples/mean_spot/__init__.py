"""MEAN_Spot: micro-expression spotting from three streams of optical flow, with and without a CBAM module."""
